-- Closes every server-to-server stream in order on SIGUSR2, so that a test can make all links cold at a moment of its
-- choosing, whatever server is on the other side.
module:set_global();

local sessions = module:shared("/*/s2s/sessions");

module:hook("signal/SIGUSR2", function ()
	local count = 0;
	for _, session in pairs(sessions) do
		session:close();
		count = count + 1;
	end
	module:log("info", "closed %d s2s streams on request", count);
end);
