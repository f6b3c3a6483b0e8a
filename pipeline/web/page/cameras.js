// The grid of all cameras: small pictures over one WebSocket, status as server-sent events, switches as POST requests.

import { PictureSocket, STATUS_TIMEOUT_S, listen, now, post } from "./connection.js";
import { element } from "./plots.js";

const byId = (id) => document.getElementById(id);
const tiles = new Map(); // camera's name → Tile
const LIVE_S = 2; // a picture is live for so long
const run = { statusAt: -Infinity, ended: false, refused: "", coming: 0, wanted: 0, limit: 0 };

class Tile {
  constructor(name) {
    this.name = name;
    this.root = element("article", "tile");
    this.root.dataset.camera = name;
    const link = element("a", "screen");
    link.href = `cameras/${encodeURIComponent(name)}/`;
    this.canvas = element("canvas");
    this.canvas.width = 480;
    this.canvas.height = 270;
    this.canvas.setAttribute("role", "img");
    this.canvas.setAttribute("aria-label", `Open ${name}`);
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.words = element("p", "words");
    link.append(this.canvas, this.words);
    this.numbers = element("p", "numbers");
    this.toggle = element("input");
    this.toggle.type = "checkbox";
    this.toggle.setAttribute("role", "switch");
    this.toggle.setAttribute("aria-label", `${name} enabled`);
    this.toggle.addEventListener("change", () => this.#enable(this.toggle.checked));
    this.changing = false;
    const line = element("div", "line");
    const label = element("label");
    label.append(this.toggle);
    const title = element("h2");
    const own = element("a", "", name);
    own.href = link.href;
    title.append(own);
    line.append(title, this.numbers, label);
    this.root.append(link, line, this.#editor());
  }

  #editor() {
    this.edit = element("details");
    this.edit.hidden = true;
    const form = element("form");
    this.addresses = ["Address", "Sub-stream"].map((text, number) => {
      const input = element("input");
      Object.assign(input, { name: ["uri", "detect_uri"][number], maxLength: 2048, autocomplete: "off" });
      const label = element("label", "", text);
      label.append(input);
      form.append(label);
      return input;
    });
    form.append(element("p", "hint", "What is left empty stays, but a new address alone ends the sub-stream."));
    const save = element("button", "plain", "Change");
    const remove = element("button", "plain", "Remove");
    remove.type = "button";
    remove.addEventListener("click", () => {
      if (confirm(`Remove ${this.name} from this run?`)) change("api/cameras/remove", { camera: this.name });
    });
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const values = filled(form);
      if (!Object.keys(values).length || !(await change("api/cameras/change", { camera: this.name, ...values }))) return;
      form.reset();
      this.edit.open = false;
    });
    form.append(save, remove);
    this.edit.append(element("summary", "", "Edit"), form);
    return this.edit;
  }

  async #enable(enabled) {
    this.changing = true;
    await change("api/cameras", { camera: this.name, enabled });
    this.changing = false;
  }

  async draw(jpeg) {
    const bitmap = await createImageBitmap(jpeg);
    const { width, height } = bitmap;
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    this.context.drawImage(bitmap, 0, 0);
    bitmap.close();
  }

  show(status) {
    const { enabled, state, fps, seen, recording, source, sub_stream: subStream } = status;
    const live = isLive(status);
    [source, subStream].forEach((shown, number) => (this.addresses[number].placeholder = shown ?? "none"));
    if (!this.changing) this.toggle.checked = enabled;
    if (this.words.textContent !== state) this.words.textContent = state;
    this.words.hidden = !state;
    this.root.classList.toggle("stale", !live);
    const rate = fps.display === null ? "" : `${Math.round(fps.display)} fps`;
    const numbers = !live ? "" : [rate, seen].filter(Boolean).join(" · ");
    if (this.numbers.textContent !== numbers) this.numbers.textContent = numbers;
    this.root.classList.toggle("recording", recording);
  }
}

// Whether a camera's pictures come; while the network is prepared, they come without masks.
function isLive({ enabled, state, frame_age_s: age }) {
  return enabled && (!state || (age !== null && age < LIVE_S));
}

// What somebody has typed into a form, by name.
function filled(form) {
  const values = [...new FormData(form)].map(([name, value]) => [name, value.trim()]);
  return Object.fromEntries(values.filter(([, value]) => value));
}

// Returns whether the server did it; shows why not.
async function change(path, values) {
  const [status, error] = await post(path, values);
  byId("message").textContent = error;
  byId("message").hidden = !error;
  if (status) showStatus(status);
  return status !== null;
}

function showStatus({ cameras, editable, viewers, max_viewers: limit }) {
  const names = new Set(cameras.map(({ name }) => name));
  for (const [name, tile] of tiles) {
    if (names.has(name)) continue;
    tile.root.remove();
    tiles.delete(name);
  }
  for (const status of cameras) {
    if (!tiles.has(status.name)) {
      const tile = new Tile(status.name);
      tiles.set(status.name, tile);
      byId("grid").append(tile.root);
    }
    tiles.get(status.name).show(status);
    tiles.get(status.name).edit.hidden = !editable;
  }
  byId("add").hidden = !editable;
  const wanted = cameras.filter(({ enabled }) => enabled);
  run.wanted = wanted.length;
  run.coming = wanted.filter(isLive).length;
  run.limit = viewers >= limit ? limit : 0;
}

listen({
  status(status) {
    Object.assign(run, { ended: false, refused: "", statusAt: now() });
    showStatus(status);
  },
  end() {
    run.ended = true;
  },
  lost(refused) {
    run.statusAt = -Infinity;
    run.refused = refused;
  },
});

// A message: the length of a JSON list of [camera, size], 4 bytes; that list; the JPEGs in its order.
const pictures = new PictureSocket(async (message) => {
  const length = new DataView(await message.slice(0, 4).arrayBuffer()).getUint32(0);
  let at = 4 + length;
  const drawn = [];
  for (const [camera, size] of JSON.parse(await message.slice(4, at).text())) {
    const jpeg = message.slice(at, at + size);
    at += size;
    if (tiles.has(camera)) drawn.push(tiles.get(camera).draw(jpeg));
  }
  await Promise.all(drawn);
});

function connectionState() {
  if (run.refused) return ["bad", run.refused];
  if (now() - run.statusAt > STATUS_TIMEOUT_S) {
    if (run.ended) return ["bad", "The run has ended. Waiting for the next one …"];
    return run.wanted ? ["bad", "Connection lost, retrying …"] : ["wait", "Connecting …"];
  }
  if (!pictures.isOpen) return run.limit ? ["bad", `The limit of ${run.limit} viewers is reached`] : ["wait", "Waiting for the pictures …"];
  if (run.coming === run.wanted) return ["good", run.wanted ? "Live" : "All disabled"];
  return ["bad", `${run.coming} of ${run.wanted} live`];
}

function showState() {
  const [kind, text] = connectionState();
  const state = byId("state");
  state.dataset.state = kind;
  if (state.textContent !== text) state.textContent = text;
  byId("grid").classList.toggle("lost", now() - run.statusAt > STATUS_TIMEOUT_S);
}

byId("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.currentTarget;
  if (await change("api/cameras/add", filled(form))) form.reset();
});

setInterval(showState, 250);
