// The page in a real browser: signing in, a drain seen as it happens, a stop by the keyboard alone, a phone, and what a page
// for everybody has to have.

import assert from "node:assert/strict";
import type { Browser, BrowserContextOptions, Page } from "playwright-core";
import { startBrowser, whyNoBrowser } from "../../support/browser.ts";
import { HttpScene } from "../../support/http.ts";
import { skip } from "../../support/skip.ts";

const PHONE: BrowserContextOptions = { viewport: { width: 360, height: 740 }, hasTouch: true, isMobile: true };

describe("the page of the life cycle", function () {
  this.timeout(90_000);
  let browser: Browser;
  let scene: HttpScene;
  let complaints: string[];

  before(async function () {
    const why = whyNoBrowser();
    if (why !== undefined) skip(this, why);
    browser = await startBrowser();
  });
  after(() => browser?.close());

  beforeEach(async () => {
    complaints = [];
    scene = await HttpScene.start({ c2s: { close_timeout: "20s" } });
  });
  afterEach(async () => {
    for (const context of browser.contexts()) await context.close();
    await scene[Symbol.asyncDispose]();
  });

  async function open(path: string, options: BrowserContextOptions = {}): Promise<Page> {
    const context = await browser.newContext(options);
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    page.on("pageerror", (error) => complaints.push(String(error)));
    page.on("console", (message) => {
      // What it says when the server has gone is the browser's own.
      const isGone = message.text().includes("ERR_CONNECTION_REFUSED") || message.text().includes("ERR_INCOMPLETE");
      if (["error", "warning"].includes(message.type()) && !isGone) complaints.push(message.text());
    });
    await page.goto(scene.address + path);
    return page;
  }

  async function live(options: BrowserContextOptions = {}): Promise<Page> {
    const page = await open(`/#token=${scene.token}`, options);
    await page.waitForSelector('#link[data-link="on"]');
    await page.waitForSelector('#hero[data-state="running"]');
    return page;
  }

  const text = async (page: Page, selector: string): Promise<string> =>
    (await page.textContent(selector))?.trim() ?? "";

  /** Waits until what is at `selector` reads so. */
  const reads = (page: Page, selector: string, wanted: RegExp): Promise<void> =>
    page.locator(selector).filter({ hasText: wanted }).waitFor({ state: "attached" });

  it("asks for the token, says when it is wrong, and keeps a good one in this tab only", async () => {
    const page = await open("/");
    await page.fill("#token", "not-a-token-that-anybody-has");
    await page.keyboard.press("Enter");
    await reads(page, "#token-error", /not known/);
    assert.equal(await page.isVisible("#board"), false);
    // The refusal is what the browser notes as an error of its own.
    complaints = complaints.filter((complaint) => !complaint.includes("401"));
    await page.fill("#token", scene.token);
    await page.click("#token-form button");
    await page.waitForSelector('#hero[data-state="running"]');
    assert.equal(await page.isVisible("#sign-in"), false);
    await page.reload();
    await page.waitForSelector('#hero[data-state="running"]');
    await page.click("#forget");
    await page.reload();
    await page.waitForSelector("#sign-in:not([hidden])");
    assert.deepEqual(complaints, []);
  });

  it("takes the token from its address, and leaves it there for nobody to see", async () => {
    const page = await live();
    assert.ok(!page.url().includes(scene.token));
    assert.equal(await text(page, "#hosts"), "a.test");
    assert.deepEqual(complaints, []);
  });

  it("shows a drain as it happens: phases, who is waited for, clients that go, the report", async () => {
    const page = await live();
    const stay = { answerClose: false, answerEnd: false };
    const romeo = await scene.server.login("romeo", "balcony", stay);
    const juliet = await scene.server.login("juliet", "chamber", stay);
    await reads(page, "#clients", /^2$/);
    const stopping = scene.server.stop({ reason: "the play is over", trigger: "the test" });
    await page.waitForSelector('#hero[data-state="stopping"]');
    await reads(page, "#blockers", /romeo@a\.test\/balcony/);
    assert.equal(await page.getAttribute(".phase[aria-current]", "data-key"), "close-sessions");
    await reads(page, "#about", /the play is over/);
    assert.match(await text(page, "#budget-left"), /left$/);
    romeo.destroy();
    await reads(page, "#clients", /^1$/);
    juliet.destroy();
    await stopping;
    await page.waitForSelector('#hero[data-state="stopped"]');
    await reads(page, "#outcome", /./);
    assert.deepEqual(await page.$$eval(".phase", (rows) => rows.map((row) => row.getAttribute("data-status"))), [
      "done",
      "done",
      "done",
      "done",
      "done",
    ]);
    assert.equal(await text(page, "#outcome"), "clean");
    assert.match(await text(page, "#report-about"), /the play is over/);
    assert.deepEqual(complaints, []);
  });

  it("is used by the keyboard alone: a stop is asked for, thought over, and done", async () => {
    const page = await live();
    const focused = (): Promise<string> =>
      page.evaluate("document.activeElement.id || document.activeElement.dataset.action || ''");
    const goTo = async (wanted: string): Promise<void> => {
      for (let step = 0; step < 12 && (await focused()) !== wanted; step++) await page.keyboard.press("Tab");
      assert.equal(await focused(), wanted);
      const outline = "parseFloat(getComputedStyle(document.activeElement).outlineWidth)";
      assert.ok(Number(await page.evaluate(outline)) >= 2, `the focus on ${wanted} is seen`);
    };
    await goTo("stop");
    await page.keyboard.press("Enter");
    await page.waitForSelector("#dialog[open]");
    assert.equal(await focused(), "field-reason");
    await page.keyboard.press("Escape");
    await page.waitForSelector("#dialog:not([open])", { state: "attached" });
    assert.equal(await focused(), "stop");
    assert.equal(scene.server.status.state, "running");
    await page.keyboard.press("Enter");
    await page.keyboard.press("ControlOrMeta+a");
    await page.keyboard.type("by the keyboard");
    await goTo("dialog-yes");
    const over = new Promise<string>((resolve) => scene.server.on("report", ({ reason }) => resolve(reason)));
    await page.keyboard.press("Enter");
    assert.equal(await over, "by the keyboard");
    await page.waitForSelector('#hero[data-state="stopped"]');
    assert.deepEqual(complaints, []);
  });

  it("shows only what the token may do", async () => {
    const token = "a-token-for-somebody-who-watches";
    await scene[Symbol.asyncDispose]();
    scene = await HttpScene.start({ http: { tokens: [{ name: "watcher", token, allow: ["watch", "status"] }] } });
    const page = await open(`/#token=${token}`);
    await page.waitForSelector('#hero[data-state="running"]');
    assert.deepEqual(
      await page.$$eval("#actions button", (buttons) => buttons.filter((button) => !button.hidden).length),
      0,
    );
    assert.deepEqual(complaints, []);
  });

  it("suspends and resumes", async () => {
    const page = await live();
    await page.click('[data-action="suspend"]');
    await page.click("#dialog-yes");
    await page.waitForSelector('#hero[data-state="suspended"]');
    await page.click('[data-action="resume"]');
    await page.waitForSelector('#hero[data-state="running"]');
    assert.deepEqual(complaints, []);
  });

  it("fits a phone, in the light and in the dark, with room for fingers", async () => {
    for (const colorScheme of ["light", "dark"] as const) {
      const page = await live({ ...PHONE, colorScheme });
      const [width, inner] = await page.evaluate<[number, number]>(
        "[document.documentElement.scrollWidth, innerWidth]",
      );
      assert.ok(width <= inner, `${width} in ${inner}`);
      for (const button of await page.$$("#actions button:not([hidden])")) {
        const box = await button.boundingBox();
        assert.ok((box?.height ?? 0) >= 44, "as high as a finger");
      }
      await page.click('[data-action="stop"]');
      const dialog = await (await page.$("#dialog"))?.boundingBox();
      assert.ok(dialog !== null && dialog !== undefined && dialog.x >= 0 && dialog.x + dialog.width <= 360);
      await page.keyboard.press("Escape");
      const background = await page.evaluate<string>("getComputedStyle(document.documentElement).backgroundColor");
      assert.equal(background, colorScheme === "dark" ? "rgb(19, 18, 23)" : "rgb(246, 245, 242)");
    }
    assert.deepEqual(complaints, []);
  });

  it("is told to everybody: names, labels, headings, live regions, contrast, no motion where none is wanted", async () => {
    for (const colorScheme of ["light", "dark"] as const) {
      const page = await live({ colorScheme, reducedMotion: "reduce" });
      assert.deepEqual(await page.evaluate(FAULTS), [], colorScheme);
      await page.click('[data-action="stop"]');
      assert.deepEqual(await page.evaluate(FAULTS), [], `${colorScheme}, the dialog`);
    }
  });
});

/** Runs in the page: what is wrong with it, one text each. */
const FAULTS = `(() => {
  const faults = [];
  const isShown = (element) => element.getClientRects().length > 0 && getComputedStyle(element).visibility !== "hidden";
  const all = [...document.querySelectorAll("body *")].filter(isShown);
  if (document.documentElement.lang === "") faults.push("no language");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (document.querySelectorAll("main").length !== 1) faults.push("not one main");
  if (document.querySelector("#state").getAttribute("aria-live") !== "polite") faults.push("the state is not told");
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  for (const id of new Set(ids)) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push("id twice: " + id);
  for (const element of document.querySelectorAll("[aria-labelledby],[aria-describedby]"))
    for (const id of [element.getAttribute("aria-labelledby"), element.getAttribute("aria-describedby")])
      if (id !== null && document.getElementById(id) === null) faults.push("nothing is called " + id);
  for (const button of document.querySelectorAll("button")) if (isShown(button) && button.textContent.trim() === "") faults.push("a button without a name");
  for (const field of document.querySelectorAll("input,select")) if (isShown(field) && field.labels.length === 0) faults.push("a field without a label: " + field.id);
  for (const image of document.querySelectorAll("img")) if (!image.hasAttribute("alt")) faults.push("a picture without a text");
  for (const element of document.querySelectorAll("[role=img]")) if (!element.getAttribute("aria-label")) faults.push("a bar without a text");
  for (const element of document.querySelectorAll("[tabindex]")) if (element.tabIndex > 0) faults.push("an order of its own");
  for (const element of all) {
    const { animationName, transitionDuration } = getComputedStyle(element);
    if (animationName !== "none" || parseFloat(transitionDuration) > 0) faults.push("it moves: " + element.className);
  }
  const channels = (text) => text.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  for (const element of all) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!own || element.disabled || element.closest("[aria-hidden]")) continue;
    const [one, other] = [luminance(channels(getComputedStyle(element).color)), luminance(behind(element))].sort((a, b) => b - a);
    const contrast = (one + 0.05) / (other + 0.05);
    if (contrast < 4.5) faults.push("hard to read (" + contrast.toFixed(2) + "): " + element.textContent.trim().slice(0, 30));
  }
  return faults;
})()`;
