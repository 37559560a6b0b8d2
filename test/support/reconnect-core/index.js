// What node-xmpp-core 5 needs of its fork of reconnect-core, which npm would have to fetch from GitHub: hand the emitter
// its connections and say what becomes of them. Only for our tests; it tries once and does not reconnect.
"use strict";

module.exports = (createConnection) => (options) => {
  const { emitter } = options;
  emitter.connected = false;
  emitter.reconnect = true;
  let current;

  function attempt(args) {
    emitter.emit("reconnect", 0, 0);
    const connection = createConnection(...args);
    if (connection !== current) emitter.emit("connection", connection);
    current = connection;
    const connected = () => {
      emitter.connected = true;
      emitter.emit("connect", connection);
    };
    const gone = (error) => {
      emitter.connected = false;
      connection.removeListener("connect", connected);
      for (const event of ["error", "close", "end"]) connection.removeListener(event, gone);
      emitter.emit("disconnect", error);
    };
    for (const event of ["error", "close", "end"]) connection.on(event, gone);
    if (options.immediate) connected();
    else connection.on("connect", connected);
  }

  emitter.connect = emitter.listen = (...args) => {
    emitter.reconnect = true;
    attempt(args);
    return emitter;
  };
  emitter.end = emitter.disconnect = () => {
    emitter.reconnect = false;
    current?.end();
    emitter.emit("disconnect");
    return emitter;
  };
  return emitter;
};
