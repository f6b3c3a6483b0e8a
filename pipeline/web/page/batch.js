// The page of a batch: status as server-sent events; nothing can be changed.

import { STATUS_TIMEOUT_S, listen, now } from "./connection.js";
import { element } from "./plots.js";

const byId = (id) => document.getElementById(id);
const batch = { statusAt: -Infinity, status: null, ended: false, refused: "" };

const number = (value) => value.toLocaleString("en-US");
const plural = (count, noun) => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

function duration(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function write(id, text) {
  if (byId(id).textContent !== text) byId(id).textContent = text;
}

// Without a total, the bar shows that its end is unknown.
function setProgress(bar, value, total) {
  if (total) Object.assign(bar, { max: total, value: Math.min(value, total) });
  else bar.removeAttribute("value");
}

// Makes a list hold `count` items, whose elements stay the same from one status to the next.
function items(list, count, make) {
  while (list.children.length > count) list.lastChild.remove();
  while (list.children.length < count) list.append(make());
  return [...list.children];
}

function workerRow() {
  const row = element("li");
  row.append(element("span", "name"), element("span", "number"), element("progress"));
  return row;
}

function showWorkers({ workers, worker_count: count, busy }) {
  write("workers-title", count ? `${busy} of ${plural(count, "worker")} busy` : "Workers");
  const more = count - workers.length;
  const rows = items(byId("workers").querySelector("ul"), workers.length + (more > 0), workerRow);
  workers.forEach(({ worker, name, frames, total }, index) => {
    const [title, counted, bar] = rows[index].children;
    title.textContent = `${worker + 1}: ${name || "waiting"}`;
    counted.textContent = name ? `${number(frames)}${total ? ` / ${number(total)}` : ""}` : "";
    bar.hidden = !name;
    bar.setAttribute("aria-label", name);
    setProgress(bar, frames, total);
  });
  if (more > 0) {
    const [title, counted, bar] = rows.at(-1).children;
    title.textContent = `… and ${number(more)} more`;
    counted.textContent = "";
    bar.hidden = true;
  }
}

function troubleText({ event, name, worker, reason, delay_s: delay }) {
  if (event === "worker_ended") return `Worker ${worker + 1} ended: ${reason}`;
  return event === "again" ? `${name}: ${reason}; trying again in ${duration(delay)}` : `${name}: ${reason}`;
}

function troubleRow() {
  const row = element("li");
  row.append(element("time"), element("span", "name"));
  return row;
}

function showTroubles({ troubles }) {
  byId("troubles").hidden = !troubles.length;
  const rows = items(byId("troubles").querySelector("ul"), troubles.length, troubleRow);
  troubles.forEach((trouble, index) => {
    const [time, text] = rows[index].children;
    time.dateTime = trouble.time;
    time.textContent = new Date(trouble.time).toLocaleTimeString("en-GB");
    text.textContent = troubleText(trouble);
    rows[index].dataset.event = trouble.event;
  });
}

function showStatus(status) {
  const { frames, frames_to_do: toDo, fps, left_s: left } = status;
  write("results", status.results);
  setProgress(byId("bar"), frames, toDo);
  write("frames", toDo ? `${number(frames)} of about ${plural(toDo, "frame")} (${Math.floor((100 * frames) / toDo)} %)` : plural(frames, "frame"));
  write("left", left === null || !status.skipped ? "" : `${duration(left)} left`);
  for (const key of ["inputs", "done", "failed", "skipped"]) write(key, number(status[key]));
  byId("failed").dataset.state = status.failed ? "bad" : "";
  write("fps", fps === null ? "–" : fps.toLocaleString("en-US", { minimumFractionDigits: 1, maximumFractionDigits: 1 }));
  write("elapsed", duration(status.elapsed_s));
  byId("report").hidden = !status.report;
  document.title = `${toDo ? `${Math.floor((100 * frames) / toDo)} % – ` : ""}Batch – stream_segment`;
  showWorkers(status);
  showTroubles(status);
}

listen({
  status(status) {
    Object.assign(batch, { status, ended: false, refused: "", statusAt: now() });
    showStatus(status);
  },
  end() {
    batch.ended = true;
  },
  lost(refused) {
    batch.statusAt = -Infinity;
    batch.refused = refused;
  },
});

function connectionState() {
  const { status } = batch;
  if (batch.refused) return ["bad", batch.refused];
  if (batch.ended) {
    if (status.skipped) return ["bad", `Ended: ${number(status.skipped)} not done`];
    return status.failed ? ["bad", `Ended: ${number(status.failed)} failed`] : ["good", "Done"];
  }
  if (now() - batch.statusAt > STATUS_TIMEOUT_S) return status ? ["bad", "Connection lost, retrying …"] : ["wait", "Connecting …"];
  if (status.busy) return ["good", "Working"];
  return ["wait", !status.frames ? "Starting …" : status.skipped ? "Waiting …" : "Finishing …"];
}

function showState() {
  const [kind, text] = connectionState();
  byId("state").dataset.state = kind;
  write("state", text);
}

setInterval(showState, 250);
