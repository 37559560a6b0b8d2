# An administrator at slixmpp, whose plugins for XEP-0050 and XEP-0133 run the commands. Orders come as lines of JSON on its
# standard input: {"list": true}, {"command": NAME, "values": {FIELD: VALUE}} for a command of XEP-0133, {"node": NODE, ...}
# for another. What comes back is printed, a line of JSON each; `online` and `over` say how it stands with the connection.
# Usage: admin-library-child.py HOST PORT DOMAIN USERNAME PASSWORD CA-FILE

import asyncio
import json
import sys

import slixmpp

from slixmpp_orders import obey_orders

host, port, domain, username, password, ca_file = sys.argv[1:]


def say(what):
    print(json.dumps(what), flush=True)


class Admin(slixmpp.ClientXMPP):
    def __init__(self):
        super().__init__(f"{username}@{domain}/admin", password)
        self.ca_certs = ca_file
        for plugin in ["xep_0004", "xep_0030", "xep_0050", "xep_0133"]:
            self.register_plugin(plugin)
        self.stream_error = None
        self.add_event_handler("session_start", self.on_start)
        self.add_event_handler("stream_error", self.on_stream_error)
        self.add_event_handler("message", lambda message: say({"message": message["body"]}))
        self.add_event_handler("disconnected", lambda _: say({"over": self.stream_error}))

    def on_start(self, _):
        self.send_presence()
        say({"online": self.boundjid.full})

    def on_stream_error(self, error):
        self.stream_error = error["condition"]

    def obey(self, order):
        if "list" in order:
            asyncio.ensure_future(self.list_commands())
            return
        session = {"next": self.on_form, "error": self.on_error, "values": order.get("values", {})}
        if "node" in order:
            self["xep_0050"].start_command(domain, order["node"], session)
        else:
            getattr(self["xep_0133"], order["command"].replace("-", "_"))(jid=domain, session=session)

    async def list_commands(self):
        iq = await self["xep_0133"].get_commands(domain)
        say({"commands": sorted(node for _, node, _ in iq["disco_items"]["items"])})

    def on_form(self, iq, session):
        if iq["command"]["status"] == "completed":
            self.on_result(iq, session)
            return
        form = iq["command"]["form"]
        form.reply()
        form["values"] = session["values"]
        session["payload"] = form
        session["next"] = self.on_result
        self["xep_0050"].complete_command(session)

    def on_result(self, iq, _):
        form = iq["command"]["form"]
        say(
            {
                "status": iq["command"]["status"],
                "notes": [list(note) for note in iq["command"]["notes"]],
                "values": {name: field["value"] for name, field in form.get_fields().items() if name != "FORM_TYPE"},
            }
        )

    def on_error(self, iq, _):
        say({"error": iq["error"]["condition"], "text": iq["error"]["text"]})


client = Admin()
obey_orders(client, host, port, lambda line: client.obey(json.loads(line)))
