// Reads the server's events with the token in a header, which EventSource cannot, and comes again when the connection ends:
// soon at first, then more and more rarely. Across a restart it finds the successor.

const FIRST_MS = 400;
const LONGEST_MS = 8_000;
/** The server says something each second; after this long without a word the connection is dead. */
const SILENCE_MS = 6_000;

/**
 * Follows the server until `signal` aborts. `told` has `event(name, data)`, `link(state, seconds)` with the states `on`,
 * `connecting` and `waiting`, and `refused(message)`, after which nothing more comes.
 */
export async function follow(token, signal, told) {
  let pause = FIRST_MS;
  while (!signal.aborted) {
    told.link("connecting");
    const end = await once(token, signal, told);
    if (signal.aborted) return;
    if (end.refused !== undefined) {
      told.refused(end.refused);
      return;
    }
    if (end.heard) pause = FIRST_MS;
    told.link("waiting", pause / 1_000);
    await sleep(pause, signal);
    pause = Math.min(pause * 1.7, LONGEST_MS);
  }
}

async function once(token, outer, told) {
  const silence = new AbortController();
  const signal = AbortSignal.any([outer, silence.signal]);
  let heard = false;
  let timer;
  const alive = () => {
    clearTimeout(timer);
    timer = setTimeout(() => silence.abort(), SILENCE_MS);
  };
  try {
    alive();
    const response = await fetch("api/events", {
      headers: { Authorization: `Bearer ${token}`, Accept: "text/event-stream" },
      cache: "no-store",
      signal,
    });
    if (response.status === 401) return { refused: "This token is not known here." };
    if (response.status === 403) return { refused: "This token may not watch." };
    if (!response.ok) return { heard };
    told.link("on");
    heard = true;
    const parse = parser(told.event);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      alive();
      parse(piece.value);
    }
  } catch {
    // Whatever broke, the cure is the same: come again.
  } finally {
    clearTimeout(timer);
  }
  return { heard };
}

/** Takes the stream apart into events, whatever the pieces in which it comes. */
function parser(emit) {
  let rest = "";
  return (text) => {
    const blocks = (rest + text).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      let name = "message";
      let data = "";
      for (const line of block.split("\n")) {
        if (line.startsWith("event: ")) name = line.slice(7);
        else if (line.startsWith("data: ")) data += line.slice(6);
      }
      if (data !== "") emit(name, JSON.parse(data));
    }
  };
}

/** Asks for an operation; resolves to its result, or rejects with what people are to read. */
export async function perform(token, operation, args) {
  let response;
  try {
    response = await fetch(`api/${operation}`, {
      method: "POST",
      headers: { Authorization: `Bearer ${token}`, "Content-Type": "application/json" },
      body: JSON.stringify(args),
    });
  } catch {
    throw new Error("The server did not answer.");
  }
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(answer?.message ?? `The server answered with ${response.status}.`);
  return answer;
}

function sleep(ms, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
