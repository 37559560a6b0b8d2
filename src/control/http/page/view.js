// Draws the server as it is now. Elements stay where they are and only change what they say, so that nothing jumps and the
// focus stays.

const $ = (id) => document.getElementById(id);

const STATES = {
  starting: "starting",
  running: "running",
  suspending: "being suspended",
  suspended: "suspended",
  stopping: "going down",
  stopped: "down",
};

const FATES = [
  ["proved", "Proved", "var(--good)"],
  ["stored", "Stored", "var(--accent)"],
  ["kept", "Kept", "var(--queued)"],
  ["returned", "Returned", "var(--warn)"],
  ["expired", "Expired", "var(--control)"],
  ["dropped", "Dropped", "var(--idle)"],
  ["lost", "Lost", "var(--bad)"],
];

const EVIDENCE = { "sm-ack": "Acknowledged", pong: "By pong", closed: "By close", written: "Only written" };
const TONES = {
  clean: "var(--good)",
  cancelled: "var(--idle)",
  incomplete: "var(--warn)",
  lost: "var(--bad)",
  fatal: "var(--bad)",
};

/** How many clients there were when the run began, as far as this page has seen. */
let clientsBefore = 0;
/** The time there was for all of the run, as far as this page has seen. */
let budgetBefore = 0;

/** Draws a snapshot. */
export function draw(snapshot) {
  const { status, progress, request, phases } = snapshot;
  const { state } = status;
  drawState(state, about(snapshot));
  say("hosts", status.hosts.join(", "));
  drawBudget(snapshot);
  drawPhases(phases, progress, state);
  drawBlockers(progress?.blockers ?? []);
  const clients = status.connections + status.hibernating;
  clientsBefore = request === undefined ? clients : Math.max(clientsBefore, clients);
  drawClients(status, clients, request !== undefined);
  drawServers(snapshot);
}

/** Draws the state alone. */
export function drawState(state, text) {
  $("hero").dataset.state = state;
  say("state", STATES[state] ?? state);
  if (text !== undefined) say("about", text);
  document.title = `${capital(STATES[state] ?? state)} – Morendo`;
}

function about({ at, status, request }) {
  const { suspension } = status;
  if (status.state === "stopped")
    return "This process has ended its work. The page goes on as soon as a server answers.";
  const asked = request ?? suspension;
  if (asked === undefined) {
    return `For ${span(at - Date.parse(status.startedAt))} · version ${status.version} · process ${status.pid}`;
  }
  const mode = suspension !== undefined && request === undefined ? ` (${suspension.mode})` : "";
  return `${capital(asked.cause)}${mode}, asked for by ${asked.trigger}: ${asked.reason}`;
}

function drawBudget({ remainingMs, budgetMs, progress, status }) {
  const isRunning = remainingMs !== undefined;
  const left = isRunning ? remainingMs : status.state === "stopped" ? 0 : budgetMs;
  // An announced time comes on top of the budget.
  budgetBefore = isRunning ? Math.max(budgetBefore, budgetMs, left) : budgetMs;
  const whole = budgetBefore;
  share($("budget-bar").firstElementChild, left / whole);
  $("budget-bar").setAttribute("aria-label", `${span(left)} of ${span(whole)} left`);
  if (isRunning) {
    say("budget-left", `${span(left)} left`);
    const step = progress === undefined ? "" : ` · ${progress.phase}, step ${progress.step} of ${progress.steps}`;
    say("budget-of", `of ${span(whole)}${step}`);
  } else {
    say("budget-left", status.state === "stopped" ? "Over" : span(whole));
    say("budget-of", status.state === "stopped" ? "" : "is what a stop may take");
  }
}

/** Between snapshots the phase under way goes on. */
export function drawProgress(progress, last) {
  if (last === undefined) return;
  drawPhases(last.phases, progress, last.status.state);
  drawBlockers(progress.blockers);
}

function drawPhases(phases, progress, state) {
  const shown = phases.filter(
    ({ name, optional, outcome }) =>
      !optional || progress?.phase === name || (outcome !== undefined && outcome !== "skipped"),
  );
  const list = $("phases");
  const used = phases.reduce((sum, { durationMs = 0 }) => sum + durationMs, 0);
  const longest = Math.max(1, ...shown.map(({ ceilingMs, durationMs = 0 }) => Math.max(ceilingMs, durationMs)));
  const rows = keep(
    list,
    shown.map(({ name }) => name),
    phaseRow,
  );
  for (const phase of shown) {
    const row = rows.get(phase.name);
    const isRunning = progress?.phase === phase.name && phase.outcome === undefined;
    const ms = phase.durationMs ?? (isRunning ? Math.max(0, progress.elapsedMs - used) : 0);
    const status = isRunning
      ? "running"
      : phase.outcome === "done"
        ? "done"
        : phase.outcome === "skipped"
          ? "skipped"
          : phase.outcome === undefined
            ? "waiting"
            : "bad";
    row.dataset.status = status;
    row.querySelector(".mark").textContent = { done: "✓", bad: "!", skipped: "–" }[status] ?? "";
    const bar = row.querySelector(".span");
    bar.style.setProperty("--most", phase.ceilingMs / longest);
    bar.style.setProperty("--least", Math.min(phase.floorMs, phase.ceilingMs) / longest);
    bar.style.setProperty("--used", ms / longest);
    const words = timeOf(phase, status, ms, isRunning ? progress : undefined, state);
    if (row.querySelector(".time").textContent !== words) row.querySelector(".time").textContent = words;
    bar.setAttribute(
      "aria-label",
      `${span(phase.floorMs)} kept free, ${span(phase.ceilingMs)} at most, ${span(ms)} used`,
    );
    if (isRunning) row.setAttribute("aria-current", "step");
    else row.removeAttribute("aria-current");
  }
}

function timeOf(phase, status, ms, progress) {
  if (progress !== undefined) {
    const { done, total } = progress;
    return `${total > 0 ? `${done} of ${total} · ` : ""}${span(ms)}`;
  }
  if (status === "done") return `done in ${span(ms)}`;
  if (status === "bad") return `${phase.outcome} after ${span(ms)}`;
  if (status === "skipped") return phase.skipped ?? "skipped";
  return `${span(phase.floorMs)} – ${span(phase.ceilingMs)}`;
}

function phaseRow(name) {
  const row = element("li", "phase");
  const bar = element("span", "span");
  bar.setAttribute("role", "img");
  bar.append(element("span", "most"), element("span", "least"), element("span", "used"));
  const mark = element("span", "mark");
  mark.setAttribute("aria-hidden", "true");
  row.append(mark, element("span", "name", name), bar, element("span", "time"));
  return row;
}

function drawBlockers(names) {
  const list = $("blockers");
  const shown = names.slice(0, 8);
  const texts = shown.length === 0 ? ["nobody"] : shown;
  const rows = keep(list, texts, (text) => element("li", "", text));
  for (const [text, row] of rows) row.className = shown.length === 0 && text === "nobody" ? "muted" : "";
}

function drawClients({ sessions, hibernating, resumable }, clients, isDraining) {
  const whole = Math.max(clientsBefore, clients);
  say("clients", number(clients));
  say("clients-of", isDraining ? `of ${number(whole)} left` : "connected or expected back");
  share($("clients-bar").firstElementChild, whole === 0 ? 0 : clients / whole);
  $("clients-bar").setAttribute("aria-label", `${clients} of ${whole} clients`);
  say("sessions", number(sessions));
  say("hibernating", number(hibernating));
  say("resumable", number(resumable));
}

function drawServers({ status, domains, moreDomains }) {
  say("queued", number(status.s2s.queued));
  say("outgoing", number(status.s2s.outgoing));
  say("incoming", number(status.s2s.incoming));
  const longest = Math.max(1, ...domains.map(({ queued, unproved }) => queued + unproved));
  const rows = keep(
    $("domains"),
    domains.map(({ domain }) => domain),
    domainRow,
  );
  for (const { domain, queued, unproved } of domains) {
    const row = rows.get(domain);
    row.querySelector(".count").textContent = `${number(queued)} queued, ${number(unproved)} unproved`;
    share(row.querySelector(".queued"), queued / longest);
    share(row.querySelector(".unproved"), unproved / longest);
  }
  say("more-domains", moreDomains > 0 ? `and ${number(moreDomains)} more` : "");
}

function domainRow(domain) {
  const row = element("li", "domain");
  const bar = element("span", "bar");
  bar.setAttribute("aria-hidden", "true");
  bar.append(element("span", "queued"), element("span", "unproved"));
  row.append(element("span", "name", domain), element("span", "count"), bar);
  return row;
}

/** Draws the report of the last run; null when there is none. */
export function drawReport(report) {
  const badge = $("outcome");
  badge.hidden = report === null;
  $("fates").hidden = report === null;
  if (report === null) return;
  badge.textContent = report.outcome;
  badge.style.setProperty("--tone", TONES[report.outcome] ?? "var(--idle)");
  const when = new Date(report.startedAt).toLocaleString();
  say(
    "report-about",
    `${capital(report.cause)} by ${report.trigger}: ${report.reason} · ${when} · ${span(report.durationMs)} of ${span(report.budgetMs)}`,
  );
  const { run, destinations } = report.obligations;
  const fates = FATES.filter(([name]) => typeof run[name] === "number");
  const bar = keep(
    $("fates-bar"),
    fates.map(([name]) => name),
    () => element("span"),
  );
  for (const [name, , tone] of fates) {
    share(bar.get(name), run[name]);
    bar.get(name).style.setProperty("--tone", tone);
    bar.get(name).hidden = run[name] === 0;
  }
  $("fates-bar").setAttribute("aria-label", fates.map(([name, label]) => `${label}: ${run[name]}`).join(", "));
  facts(
    $("fates-list"),
    fates.map(([name, label, tone]) => [label, number(run[name]), tone]),
  );
  facts(
    $("evidence-list"),
    Object.entries(run.evidence).map(([name, count]) => [EVIDENCE[name] ?? name, number(count)]),
  );
  const lost = destinations.flatMap(({ lostNames }) => lostNames);
  $("lost").hidden = run.lost === 0;
  const names = lost.slice(0, 100);
  if (run.lost > names.length) names.push(`and ${number(run.lost - names.length)} more, see the report`);
  keep($("lost-names"), names, (name) => element("li", "", name));
}

function facts(list, entries) {
  const rows = keep(
    list,
    entries.map(([label]) => label),
    (label) => {
      const row = element("div");
      row.append(element("dt", "", label), element("dd"));
      return row;
    },
  );
  for (const [label, value, tone] of entries) {
    rows.get(label).querySelector("dd").textContent = value;
    if (tone !== undefined) rows.get(label).style.setProperty("--tone", tone);
  }
}

/** Makes the children of `list` those named, in order; keeps those that are there. Returns them by name. */
function keep(list, names, make) {
  const known = new Map([...list.children].map((child) => [child.dataset.key, child]));
  const rows = new Map();
  for (const name of names) {
    const row = known.get(name) ?? make(name);
    row.dataset.key = name;
    rows.set(name, row);
  }
  const wanted = [...rows.values()];
  if (wanted.length !== list.children.length || wanted.some((row, index) => list.children[index] !== row))
    list.replaceChildren(...wanted);
  return rows;
}

/** Shows how the connection is. */
export function drawLink(state, seconds) {
  $("link").dataset.link = state;
  const texts = { on: "Live", connecting: "Connecting…", off: "Not connected" };
  say("link-text", texts[state] ?? `Again in ${Math.ceil(seconds)} s`);
}

function element(tag, className = "", text = "") {
  const made = document.createElement(tag);
  if (className !== "") made.className = className;
  made.textContent = text;
  return made;
}

/** Writes a text only where it is another one: what does not change is not read out again. */
export function say(id, text) {
  if ($(id).textContent !== text) $(id).textContent = text;
}

function share(target, value) {
  target.style.setProperty("--share", Number.isFinite(value) ? value : 0);
}

function number(value) {
  return value.toLocaleString();
}

function capital(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** A length of time as people say it. */
export function span(ms) {
  if (ms < 950) return `${Math.round(ms / 10) * 10} ms`;
  if (ms < 9_950) return `${(ms / 1_000).toFixed(1)} s`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return seconds % 60 === 0 ? `${minutes} min` : `${minutes} min ${seconds % 60} s`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.floor(hours / 24)} days`;
}
