// The recordings of this run: a list with links to play and download, and buttons to delete.

import { element } from "./plots.js";

const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

export class Recordings {
  // `card`: holds an empty list, and is hidden while there are none; `post`: sends a change, returns the answer or null.
  constructor(card, post) {
    this.card = card;
    this.list = card.querySelector("ul");
    this.post = post;
    this.state = "";
  }

  // Looks again if the recording that is written, or the one saved last, has changed.
  follow({ file, saved, error }) {
    const state = JSON.stringify([file, saved, error]);
    if (this.state === state) return;
    this.state = state;
    this.refresh();
  }

  async refresh() {
    try {
      const answer = await fetch("api/recordings", { cache: "no-store" });
      if (answer.ok) this.show((await answer.json()).recordings);
    } catch {
      this.state = ""; // the next status tries again
    }
  }

  show(recordings) {
    this.card.hidden = !recordings.length;
    this.list.replaceChildren(...recordings.map((recording) => this.#item(recording)));
  }

  #item({ name, bytes, writing }) {
    const item = element("li");
    if (writing) {
      item.append(element("span", "name", name), element("span", "size", "being written"));
      return item;
    }
    const address = `recordings/${encodeURIComponent(name)}`;
    const play = element("a", "name", name);
    play.href = address;
    play.target = "_blank";
    const download = element("a", "", "Download");
    download.href = address;
    download.download = name;
    download.setAttribute("aria-label", `Download ${name}`);
    const remove = element("button", "", "Delete");
    remove.type = "button";
    remove.setAttribute("aria-label", `Delete ${name}`);
    remove.addEventListener("click", () => this.#delete(name, bytes));
    item.append(play, element("span", "size", size(bytes)), download, remove);
    return item;
  }

  async #delete(name, bytes) {
    if (!confirm(`Delete ${name} (${size(bytes)}) from the disk of the machine that recorded it?`)) return;
    const answer = await this.post("api/recordings/delete", { name });
    if (answer) this.show(answer.recordings);
    else this.refresh();
  }
}

function size(bytes) {
  const power = Math.min(UNITS.length - 1, Math.floor(Math.log10(Math.max(bytes, 1)) / 3));
  const number = bytes / 1000 ** power;
  return `${power && number < 100 ? number.toFixed(1) : Math.round(number)} ${UNITS[power]}`;
}
