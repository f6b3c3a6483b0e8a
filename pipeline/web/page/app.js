// The page: pictures over a WebSocket, status as server-sent events, controls as POST requests.

import { PictureSocket, STATUS_TIMEOUT_S, listen, now, post } from "./connection.js";
import { Plot, element } from "./plots.js";
import { Recordings } from "./recordings.js";

const byId = (id) => document.getElementById(id);
const canvas = byId("picture");
const context = canvas.getContext("2d", { alpha: false });
const camera = decodeURIComponent(/^\/cameras\/([^/]+)\//.exec(location.pathname)?.[1] ?? ""); // in a run with several

const MAX_PATIENCE_S = 10; // the longest wait for a picture before the run counts as stalled

const run = { status: null, statusAt: -Infinity, pictureAt: -Infinity, interval: 0, ended: false, refused: "" };

// -- pictures ---------------------------------------------------------------------------------------------------------

const pictures = new PictureSocket(async (jpeg) => {
  const bitmap = await createImageBitmap(jpeg);
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const at = now();
  const gap = at - run.pictureAt;
  if (gap < MAX_PATIENCE_S) run.interval = run.interval ? 0.9 * run.interval + 0.1 * gap : gap;
  run.pictureAt = at;
});

// -- status ----------------------------------------------------------------------------------------------------------

const plots = {
  rates: new Plot(byId("rates"), "no frame yet"),
  latency: new Plot(byId("latency"), "no frame yet"),
  objects: new Plot(byId("objects"), "nothing seen yet"),
  drops: new Plot(byId("drops"), "none"),
};
let lastDrops = null; // counts of the sample before

listen({
  status(status) {
    run.ended = false;
    run.refused = "";
    run.statusAt = now();
    run.status = status;
    plot([status]);
    showNumbers(status);
    showControls(status);
  },
  history(samples) {
    lastDrops = null;
    for (const one of Object.values(plots)) one.clear();
    plot(samples);
  },
  end() {
    run.ended = true;
  },
  lost(refused) {
    run.statusAt = -Infinity;
    run.refused = refused;
  },
});

const rate = (number) => (number === null ? "–" : number.toFixed(1));
const ms = (number) => (number === null ? "–" : number.toFixed(0));

// Adds samples to the plots, the oldest first; each has the parts of a status that are plotted.
function plot(samples) {
  plots.rates.add(samples.map(({ fps }) => ["capture", "inference", "display"].map((name) => [name, fps[name], rate(fps[name])])));
  plots.latency.add(samples.map(({ latency_ms: { p50, p95 } }) => [["median", p50, ms(p50)], ["95 % within", p95, ms(p95)]]));
  plots.objects.add(samples.map(({ objects }) => byCount(objects).map(([name, count]) => [name, count, String(count)])));
  plots.drops.add(samples.map(newDrops));
}

const byCount = (objects) => Object.entries(objects).sort((a, b) => b[1] - a[1]);

function newDrops(sample) {
  const drops = new Map(sample.drops.map(({ stage, cause, count }) => [`before ${stage}: ${cause}`, count]));
  for (const [sink, count] of Object.entries(sample.sink_drops)) drops.set(`${sink}: too slow, or paused`, count);
  const before = lastDrops ?? drops;
  lastDrops = drops;
  return [...drops].map(([name, count]) => [name, Math.max(0, count - (before.get(name) ?? 0)), String(count)]);
}

function showNumbers(status) {
  showFacts(status);
  const seen = byCount(status.objects).filter(([, count]) => count).map(([name, count]) => `${count} ${name}`);
  canvas.setAttribute("aria-label", `Live picture: ${seen.join(", ") || "no objects"}`);
}

function showFacts(status) {
  const { source, frames } = status;
  const name = camera || (source.name ?? "");
  byId("source").textContent = name || "stream_segment";
  document.title = name ? `${name} – stream_segment` : "stream_segment";
  const facts = [
    ["Model", status.model],
    ["Source", source.name ? `${camera ? `${source.name}, ` : ""}${size(source)}, ${source.live ? "live" : "recorded"}` : "not open yet"],
    ["Running for", duration(status.uptime_s)],
    ["Frames", `${frames.captured} captured, ${frames.inferred} inferred, ${frames.presented} shown`],
    ["Inference", status.inference_ms === null ? "–" : `${ms(status.inference_ms)} ms (median)`],
    ["Viewers", String(status.viewers)],
    ["Reconnects", String(status.reconnects)],
  ];
  const list = byId("facts");
  if (!list.children.length) {
    for (const [name] of facts) list.append(element("dt", "", name), element("dd"));
  }
  facts.forEach(([, text], index) => {
    list.children[2 * index + 1].textContent = text;
  });
}

const size = ({ width, height, fps }) => `${width}×${height}${fps ? `, ${fps.toFixed(2)} fps` : ""}`;

function duration(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

// -- connection state ---------------------------------------------------------------------------------------------------

function connectionState() {
  const at = now();
  const { status } = run;
  const late_s = at - run.pictureAt;
  const patience_s = Math.min(MAX_PATIENCE_S, Math.max(1.5, 3 * run.interval));
  if (run.refused) return ["bad", run.refused];
  if (at - run.statusAt > STATUS_TIMEOUT_S) {
    if (run.ended) return ["bad", "The run has ended. Waiting for the next one …"];
    return status ? ["bad", "Connection lost, retrying …"] : ["wait", "Connecting …"];
  }
  if (late_s <= patience_s) return ["good", status.waiting_for ? `Live (${status.waiting_for})` : "Live"];
  const cause = status.waiting_for ? `: ${status.waiting_for}` : "";
  if (!pictures.isOpen) {
    if (status.viewers >= status.max_viewers) return ["bad", `The limit of ${status.max_viewers} viewers is reached`];
    return ["wait", "Waiting for the picture …"];
  }
  if (camera && status.waiting_for) return ["bad", status.waiting_for];
  if (late_s === Infinity) return ["wait", `No picture yet${cause}`];
  return ["bad", `Stalled: no new picture for ${Math.floor(late_s)} s${cause}`];
}

function showState() {
  if (document.hidden) return;
  const [kind, text] = connectionState();
  const state = byId("state");
  state.dataset.state = kind;
  // Screen readers should announce a change of state, not every second of it.
  const words = text.replace(/ for \d+ s/, "");
  if (state.textContent !== words) state.textContent = words;
  byId("banner").textContent = text;
  byId("banner").hidden = kind === "good";
  byId("stage").classList.toggle("stale", kind !== "good");
}

// -- controls ---------------------------------------------------------------------------------------------------------

const lastMoved = new Map(); // control → when the user last moved it; until then, the server's status does not move it back

// Returns the answer, or null after an error, which it shows.
async function request(path, values) {
  const [answer, error] = await post(path, values);
  showMessage(error);
  return answer;
}

async function change(path, values) {
  const status = await request(path, values);
  if (status) showControls(status);
}

const recordings = new Recordings(byId("recordings"), request);

function showMessage(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

function showControls({ display, recording }) {
  const isSettled = (control) => now() - (lastMoved.get(control) ?? -Infinity) > 1;
  for (const control of document.querySelectorAll("[data-switch]")) {
    if (isSettled(control)) control.checked = display[control.dataset.switch];
  }
  const threshold = byId("threshold");
  threshold.min = display.least_score;
  if (isSettled(threshold)) {
    threshold.value = display.min_score;
    byId("threshold-value").textContent = display.min_score.toFixed(2);
  }
  if (isSettled(byId("color-by"))) byId("color-by").value = display.color_by;
  const button = byId("record");
  button.disabled = !recording.possible;
  button.setAttribute("aria-pressed", String(recording.on));
  button.textContent = recording.on ? "Stop recording" : "Start recording";
  const line = byId("saved");
  const saved = recording.saved ? `Saved as ${recording.saved}` : "";
  const text = recording.file ? `Recording to ${recording.file}` : recording.error ? `Recording ended: ${recording.error}` : saved;
  if (line.textContent !== text) line.textContent = text;
  line.hidden = !text;
  recordings.follow(recording);
}

for (const control of document.querySelectorAll("[data-switch]")) {
  control.addEventListener("change", () => {
    lastMoved.set(control, now());
    change("api/overlay", { [control.dataset.switch]: control.checked });
  });
}

byId("color-by").addEventListener("change", ({ target }) => {
  lastMoved.set(target, now());
  change("api/overlay", { color_by: target.value });
});

let sendThreshold = 0;
byId("threshold").addEventListener("input", ({ target }) => {
  lastMoved.set(target, now());
  byId("threshold-value").textContent = Number(target.value).toFixed(2);
  clearTimeout(sendThreshold);
  const least = Number(target.value) <= Number(target.min); // the run's own threshold is enough
  sendThreshold = setTimeout(() => change("api/overlay", { min_score: least ? 0 : Number(target.value) }), 80);
});

byId("record").addEventListener("click", ({ currentTarget }) => {
  change("api/recording", { on: currentTarget.getAttribute("aria-pressed") !== "true" });
});

byId("snapshot").addEventListener("click", async () => {
  try {
    const answer = await fetch("snapshot.jpg", { cache: "no-store" });
    if (!answer.ok) return showMessage((await answer.json()).error);
    const link = element("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = /filename="(.+)"/.exec(answer.headers.get("Content-Disposition"))?.[1] ?? "snapshot.jpg";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    showMessage("");
  } catch {
    showMessage("The server did not respond: no snapshot was saved.");
  }
});

byId("fullscreen").hidden = !document.fullscreenEnabled;
byId("fullscreen").addEventListener("click", () => byId("stage").requestFullscreen());

byId("all").hidden = !camera;
setInterval(showState, 250);
