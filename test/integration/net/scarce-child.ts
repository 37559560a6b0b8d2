// A listener in a process with few file descriptors: greets whom it accepts, and says on its standard output where it
// listens. Ends when its standard input does.

import { TcpNetwork } from "../../../src/net/tcp.ts";
import type { Transport } from "../../../src/net/transport.ts";
import { systemClock } from "../../../src/util/clock.ts";
import { silentLog } from "../../../src/util/log.ts";

const network = new TcpNetwork({ clock: systemClock, log: silentLog });
const transports = new Set<Transport>();
const listener = await network.listen({ host: "127.0.0.1", port: 0 }, ({ transport }) => {
  transports.add(transport);
  transport.setReader({
    onData: () => undefined,
    onEnd: () => transport.end(),
    onDrain: () => undefined,
    onClose: () => void transports.delete(transport),
  });
  transport.write("hi");
});
process.stdout.write(`port ${listener.port}\n`);
process.stdin.resume().once("end", () => {
  for (const transport of transports) transport.destroy();
  void listener.close();
});
