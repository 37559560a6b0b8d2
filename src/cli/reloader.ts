// A reload as this process carries it out for whoever asks for it, SIGHUP included: reads the configuration as it was read at
// the start, has the server take it in, and tells systemd. What it does to the server: src/server/reloading.ts.

import { ConfigError } from "../config/load.ts";
import type { Reload } from "../operations/server-port.ts";
import type { Server } from "../server/server.ts";
import { asError } from "../util/errors.ts";
import type { LoadedConfig } from "./config-option.ts";
import type { Systemd } from "./systemd.ts";

/** What a reload needs. */
export interface ReloaderOptions {
  readonly server: Pick<Server, "reload">;
  /** Reads the configuration; throws a ConfigError. */
  read(): LoadedConfig;
  readonly systemd: Pick<Systemd, "reloading" | "reloaded">;
}

/** Returns the way to reload. What it rejects with names the file that a problem is in. */
export function reloader({ server, read, systemd }: ReloaderOptions): Reload {
  return async () => {
    systemd.reloading();
    let file: string | undefined;
    try {
      const loaded = read();
      file = loaded.file;
      const result = await server.reload(loaded.config);
      systemd.reloaded();
      return result;
    } catch (thrown) {
      const error = thrown instanceof ConfigError ? withPlaces(thrown, file) : asError(thrown);
      systemd.reloaded(error.message);
      throw error;
    }
  };
}

function withPlaces({ problems }: ConfigError, file: string | undefined): ConfigError {
  return new ConfigError(problems.map(({ place = file, ...problem }) => ({ place, ...problem })));
}
