// The page: pictures over a WebSocket, numbers as server-sent events, controls as POST requests.

import { Plot, element } from "/plots.js";

const by = (id) => document.getElementById(id);
const canvas = by("picture");
const pen = canvas.getContext("2d", { alpha: false });
const now = () => performance.now() / 1000;

const SILENT_S = 1.5; // without a status for this long, the connection counts as lost
const LONGEST_WAIT_S = 10; // however slow the pictures usually come

const run = { status: null, statusAt: -Infinity, pictureAt: -Infinity, interval: 0, ended: false, refused: "" };

// -- pictures ---------------------------------------------------------------------------------------------------------

let socket = null;
let retryPicture_s = 0.5;

function watch() {
  if (socket || document.hidden) return;
  const opened = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  socket = opened;
  opened.binaryType = "blob";
  opened.onmessage = async ({ data }) => {
    try {
      const bitmap = await createImageBitmap(data);
      if (socket === opened) show(bitmap);
      bitmap.close();
    } catch (error) {
      console.warn("a picture could not be shown", error);
    }
    if (opened.readyState === WebSocket.OPEN) opened.send("shown"); // asks for the next one
  };
  opened.onclose = () => {
    if (socket !== opened) return;
    socket = null;
    setTimeout(watch, 1000 * retryPicture_s);
    retryPicture_s = Math.min(4, 2 * retryPicture_s);
  };
}

function unwatch() {
  const open = socket;
  socket = null;
  open?.close();
}

function show(bitmap) {
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  pen.drawImage(bitmap, 0, 0);
  const at = now();
  const gap = at - run.pictureAt;
  if (gap < LONGEST_WAIT_S) run.interval = run.interval ? 0.9 * run.interval + 0.1 * gap : gap;
  run.pictureAt = at;
  retryPicture_s = 0.5;
}

// -- numbers ----------------------------------------------------------------------------------------------------------

const plots = {
  rates: new Plot(by("rates"), "no frame yet"),
  latency: new Plot(by("latency"), "no frame yet"),
  objects: new Plot(by("objects"), "nothing seen yet"),
  drops: new Plot(by("drops"), "none"),
};
let lastDrops = new Map();
let events = null;

function listen() {
  events = new EventSource("/api/events");
  events.onmessage = ({ data }) => {
    run.ended = false;
    run.refused = "";
    run.statusAt = now();
    run.status = JSON.parse(data);
    showNumbers(run.status);
    showControls(run.status);
  };
  events.addEventListener("end", () => {
    run.ended = true;
  });
  events.onerror = async () => {
    events.close();
    run.statusAt = -Infinity;
    lastDrops = new Map();
    try {
      const answer = await fetch("/api/status", { cache: "no-store" });
      run.refused = answer.ok ? "" : (await answer.json()).error;
    } catch {
      run.refused = "";
    }
    setTimeout(listen, 1000);
  };
}

const rate = (number) => (number === null ? "–" : number.toFixed(1));
const ms = (number) => (number === null ? "–" : number.toFixed(0));

function showNumbers(status) {
  const { fps, latency_ms: latency } = status;
  plots.rates.add(["capture", "inference", "display"].map((name) => [name, fps[name], rate(fps[name])]));
  plots.latency.add(["p50", "p95"].map((name) => [name, latency[name], ms(latency[name])]));
  const objects = Object.entries(status.objects).sort((a, b) => b[1] - a[1]);
  plots.objects.add(objects.map(([name, count]) => [name, count, String(count)]));
  const drops = new Map(status.drops.map(({ stage, cause, count }) => [`before ${stage}: ${cause}`, count]));
  for (const [sink, count] of Object.entries(status.sink_drops)) drops.set(`${sink}: too slow`, count);
  plots.drops.add([...drops].map(([name, count]) => [name, Math.max(0, count - (lastDrops.get(name) ?? count)), String(count)]));
  lastDrops = drops;
  showFacts(status);
  const seen = objects.filter(([, count]) => count).map(([name, count]) => `${count} ${name}`);
  canvas.setAttribute("aria-label", `Live picture: ${seen.join(", ") || "no objects"}`);
}

function showFacts(status) {
  const { source, frames } = status;
  by("source").textContent = source.name ?? "stream_segment";
  document.title = `${source.name} – stream_segment`;
  const facts = [
    ["Model", status.model],
    ["Source", `${source.width}×${source.height}${source.fps ? `, ${source.fps.toFixed(2)} fps` : ""}, ${source.live ? "live" : "recorded"}`],
    ["Running for", duration(status.uptime_s)],
    ["Frames", `${frames.captured} captured, ${frames.inferred} inferred, ${frames.presented} shown`],
    ["Inference", status.inference_ms === null ? "–" : `${ms(status.inference_ms)} ms (median)`],
    ["Viewers", String(status.viewers)],
    ["Reconnects", String(status.reconnects)],
  ];
  const list = by("facts").firstElementChild;
  if (!list.children.length) {
    for (const [name] of facts) list.append(element("dt", "", name), element("dd"));
  }
  facts.forEach(([, text], index) => {
    list.children[2 * index + 1].textContent = text;
  });
}

function duration(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  return parts.map((part) => String(part).padStart(2, "0")).join(":");
}

// -- state in words ---------------------------------------------------------------------------------------------------

function judge() {
  const at = now();
  const { status } = run;
  const late_s = at - run.pictureAt;
  const patience_s = Math.min(LONGEST_WAIT_S, Math.max(1.5, 3 * run.interval));
  if (run.refused) return ["bad", run.refused];
  if (at - run.statusAt > SILENT_S) {
    if (run.ended) return ["bad", "The run has ended. Waiting for the next one …"];
    return status ? ["bad", "Connection lost. Trying again …"] : ["wait", "Connecting …"];
  }
  if (late_s <= patience_s) return ["good", status.waiting_for ? `Live (${status.waiting_for})` : "Live"];
  const cause = status.waiting_for ? `: ${status.waiting_for}` : "";
  if (!socket || socket.readyState !== WebSocket.OPEN) {
    if (status.viewers >= status.max_viewers) return ["bad", `All ${status.max_viewers} places for viewers are taken`];
    return ["wait", "Waiting for the picture …"];
  }
  if (late_s === Infinity) return ["wait", `No picture yet${cause}`];
  return ["bad", `Stalled: no new picture for ${Math.floor(late_s)} s${cause}`];
}

function showState() {
  if (document.hidden) return;
  const [kind, text] = judge();
  const state = by("state");
  state.dataset.state = kind;
  // A screen reader hears the change, not every second of it.
  const words = text.replace(/ for \d+ s/, "");
  if (state.textContent !== words) state.textContent = words;
  by("banner").textContent = text;
  by("banner").hidden = kind === "good";
  by("stage").classList.toggle("stale", kind !== "good");
}

// -- controls ---------------------------------------------------------------------------------------------------------

const touched = new Map(); // control → when the user last moved it: the server's word comes after

async function post(path, change) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Stream-Segment": "1" },
      body: JSON.stringify(change),
    });
    const body = await answer.json();
    say(answer.ok ? "" : body.error);
    if (answer.ok) showControls(body);
  } catch {
    say("The server did not answer: nothing was changed.");
  }
}

function say(text) {
  by("message").textContent = text;
  by("message").hidden = !text;
}

function showControls({ display, recording }) {
  const settled = (control) => now() - (touched.get(control) ?? -Infinity) > 1;
  for (const control of document.querySelectorAll("[data-switch]")) {
    if (settled(control)) control.checked = display[control.dataset.switch];
  }
  const threshold = by("threshold");
  if (settled(threshold)) {
    threshold.value = display.min_score;
    by("threshold-value").textContent = display.min_score.toFixed(2);
  }
  const button = by("record");
  button.disabled = !recording.possible;
  button.setAttribute("aria-pressed", String(recording.on));
  button.textContent = recording.on ? "Stop recording" : "Start recording";
  const line = by("recording");
  const text = recording.file ? `Recording to ${recording.file}` : recording.error ? `Recording ended: ${recording.error}` : "";
  if (line.textContent !== text) line.textContent = text;
  line.hidden = !text;
}

for (const control of document.querySelectorAll("[data-switch]")) {
  control.addEventListener("change", () => {
    touched.set(control, now());
    post("/api/overlay", { [control.dataset.switch]: control.checked });
  });
}

let sendThreshold = 0;
by("threshold").addEventListener("input", ({ target }) => {
  touched.set(target, now());
  by("threshold-value").textContent = Number(target.value).toFixed(2);
  clearTimeout(sendThreshold);
  sendThreshold = setTimeout(() => post("/api/overlay", { min_score: Number(target.value) }), 80);
});

by("record").addEventListener("click", ({ currentTarget }) => {
  post("/api/recording", { on: currentTarget.getAttribute("aria-pressed") !== "true" });
});

by("snapshot").addEventListener("click", async () => {
  try {
    const answer = await fetch("/snapshot.jpg", { cache: "no-store" });
    if (!answer.ok) return say((await answer.json()).error);
    const link = element("a");
    link.href = URL.createObjectURL(await answer.blob());
    link.download = /filename="(.+)"/.exec(answer.headers.get("Content-Disposition"))?.[1] ?? "snapshot.jpg";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    say("");
  } catch {
    say("The server did not answer: there is no snapshot.");
  }
});

by("fullscreen").hidden = !document.fullscreenEnabled;
by("fullscreen").addEventListener("click", () => by("stage").requestFullscreen());

document.addEventListener("visibilitychange", () => {
  if (document.hidden) unwatch();
  else watch();
});

listen();
watch();
setInterval(showState, 250);
