// The page: signs in, follows the server, and asks it for what the buttons say. The token is kept in this tab only.

import { follow, perform } from "./stream.js";
import { draw, drawLink, drawProgress, drawReport, drawState, say } from "./view.js";

const KEY = "morendo-token";
const $ = (id) => document.getElementById(id);

let token = "";
let following = new AbortController();
let last;
let allowed = new Set();
let reportShown;

/** What each button asks before it acts. */
const QUESTIONS = {
  stop: {
    title: "Stop the server?",
    text: "Users are told, what is owed is delivered and proved, and the process ends. Until sessions are closed it can be cancelled.",
    yes: "Stop the server",
    isDanger: true,
    fields: [
      { name: "reason", label: "Reason, which users can read", value: "stopped by the operator" },
      {
        name: "delay",
        label: "Wait before it begins",
        needs: "announce",
        hint: "A time such as 90s or 5m; empty: as configured. Until then everything goes on.",
      },
      {
        name: "announcement",
        label: "Tell users",
        needs: "announce",
        hint: "A text for everybody who is online; empty: nothing.",
      },
    ],
  },
  restart: {
    title: "Restart the server?",
    text: "A new process takes over; sessions that can be resumed go on. If it cannot start, nothing changes.",
    yes: "Restart the server",
    fields: [{ name: "reason", label: "Reason", value: "restarted by the operator" }],
  },
  suspend: {
    title: "Suspend the server?",
    text: "What is under way is finished, then everything stands still until you resume.",
    yes: "Suspend the server",
    fields: [
      {
        name: "mode",
        label: "Connections",
        options: [
          ["hold", "Hold: nobody notices, everything waits"],
          ["refuse", "Refuse: those here go on, new ones are turned away"],
        ],
      },
      { name: "reason", label: "Reason", value: "suspended by the operator" },
    ],
  },
};

const told = {
  event(name, data) {
    if (name === "hello") {
      allowed = new Set(data.allowed);
    } else if (name === "status") {
      last = data;
      draw(data);
      if (data.report !== reportShown) void loadReport(data.report);
    } else if (name === "state") {
      drawState(data.state);
    } else if (name === "progress") {
      drawProgress(data, last);
    } else if (name === "report" || name === "cancelled") {
      reportShown = data.id;
      drawReport(data);
      if (name === "report") drawState("stopped");
    }
    drawActions();
  },
  link(state, seconds) {
    drawLink(state, seconds);
    if (state !== "on") drawActions();
  },
  refused(message) {
    signOut(message);
  },
};

/** The report may be asked for by who may read it; the others see the page without it. */
async function loadReport(id) {
  reportShown = id;
  if (id === undefined || !allowed.has("report")) return;
  try {
    drawReport(await perform(token, "report", {}));
  } catch {
    // Asked for again with the next snapshot.
    reportShown = undefined;
  }
}

function drawActions() {
  const state = $("hero").dataset.state;
  const isLive = $("link").dataset.link === "on";
  const canCancel = state === "stopping" && last?.request !== undefined && !last.isPastNoReturn;
  const shown = {
    cancel: canCancel,
    resume: state === "suspended" || state === "suspending",
    suspend: state === "running",
    restart: state === "running" || state === "suspended",
    stop: state === "running" || state === "suspended" || state === "suspending",
  };
  for (const button of $("actions").children) {
    const { action } = button.dataset;
    button.hidden = !(allowed.has(action) && shown[action]);
    button.disabled = !isLive;
  }
}

async function act(action) {
  const question = QUESTIONS[action];
  if (question === undefined) return await run(action, {});
  const args = await ask(question);
  if (args !== undefined) await run(action, args);
}

async function run(action, args) {
  tell("", `Asking for ${action}…`);
  try {
    const result = await perform(token, action, args);
    const [kind, text] = outcomeOf(action, result);
    tell(kind, text);
  } catch (error) {
    tell("bad", error.message);
  }
}

function outcomeOf(action, result) {
  if (action === "restart") {
    return result.restarted
      ? ["good", `Process ${result.pid} has taken over; nobody was served for ${result.frozenMs} ms.`]
      : ["bad", `Not restarted: ${result.why}`];
  }
  if (action === "cancel")
    return result.cancelled ? ["good", "The stop is cancelled."] : ["bad", `Not cancelled: ${result.why}`];
  if (action === "suspend")
    return result.suspended === false
      ? ["bad", `Not suspended: ${result.why ?? result.outcome}`]
      : ["good", "Suspended."];
  if (action === "resume")
    return result.resumed === false ? ["bad", `Not resumed: ${result.why}`] : ["good", "The server goes on."];
  return ["good", "The server goes down."];
}

function tell(kind, text) {
  $("said").dataset.kind = kind;
  say("said", text);
}

/** Shows the dialog; resolves to what was filled in, or to undefined. */
function ask({ title, text, yes, isDanger = false, fields }) {
  const dialog = $("dialog");
  say("dialog-title", title);
  say("dialog-text", text);
  say("dialog-yes", yes);
  say("dialog-error", "");
  $("dialog-yes").classList.toggle("danger", isDanger);
  $("dialog-fields").replaceChildren(
    ...fields.filter(({ needs }) => needs === undefined || allowed.has(needs)).flatMap(fieldOf),
  );
  return new Promise((resolve) => {
    const done = (args) => {
      $("dialog-form").onsubmit = null;
      dialog.onclose = null;
      dialog.close();
      resolve(args);
    };
    dialog.onclose = () => done(undefined);
    $("dialog-no").onclick = () => done(undefined);
    $("dialog-form").onsubmit = (event) => {
      event.preventDefault();
      const filled = [...new FormData($("dialog-form"))].filter(([, value]) => value.trim() !== "");
      const { delay, ...args } = Object.fromEntries(filled);
      if (delay === undefined) return done(args);
      const delayMs = milliseconds(delay);
      if (delayMs !== undefined) return done({ ...args, delayMs });
      say("dialog-error", "The time to wait is a number with s, m or h, such as 90s or 5m.");
      $("field-delay").focus();
    };
    dialog.showModal();
  });
}

/** Returns how long "90s" or "5m" is; undefined when it is no time. */
function milliseconds(text) {
  const [, count, unit] = /^(\d+(?:\.\d+)?)\s*(s|m|h)$/.exec(text.trim()) ?? [];
  return count === undefined ? undefined : Math.round(Number(count) * { s: 1_000, m: 60_000, h: 3_600_000 }[unit]);
}

function fieldOf({ name, label, value = "", hint, options }) {
  const title = document.createElement("label");
  title.htmlFor = `field-${name}`;
  title.textContent = label;
  const field = document.createElement(options === undefined ? "input" : "select");
  field.id = `field-${name}`;
  field.name = name;
  if (options === undefined) {
    field.value = value;
    field.maxLength = 1_000;
  }
  for (const [choice, text] of options ?? []) field.append(new Option(text, choice));
  if (hint === undefined) return [title, field];
  const note = document.createElement("p");
  note.className = "hint";
  note.id = `hint-${name}`;
  note.textContent = hint;
  field.setAttribute("aria-describedby", note.id);
  return [title, field, note];
}

function signIn(text) {
  if (!/^[\w.~+/=-]+$/.test(text)) {
    signOut("This does not look like a token.");
    return;
  }
  token = text;
  sessionStorage.setItem(KEY, token);
  $("sign-in").hidden = true;
  $("board").hidden = false;
  $("forget").hidden = false;
  following = new AbortController();
  void follow(token, following.signal, told);
}

function signOut(message = "") {
  following.abort();
  sessionStorage.removeItem(KEY);
  token = "";
  $("board").hidden = true;
  $("forget").hidden = true;
  $("sign-in").hidden = false;
  drawLink("off");
  say("token-error", message);
  $("token").focus();
}

function tokenOfAddress() {
  const found = new URLSearchParams(location.hash.slice(1)).get("token");
  // Neither in the history nor in what is copied from the address bar.
  if (found !== null) history.replaceState(null, "", location.pathname);
  return found;
}

function begin() {
  const found = tokenOfAddress() ?? sessionStorage.getItem(KEY);
  if (found === null) signOut();
  else signIn(found);
}

$("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = $("token").value.trim();
  $("token").value = "";
  say("token-error", "");
  signIn(text);
});
$("forget").addEventListener("click", () => signOut());
window.addEventListener("hashchange", () => {
  const found = tokenOfAddress();
  if (found !== null) {
    following.abort();
    signIn(found);
  }
});
for (const button of $("actions").children) button.addEventListener("click", () => void act(button.dataset.action));
begin();
