// What the pages have in common: pictures over a WebSocket, status as server-sent events, controls as POST requests.

export const STATUS_TIMEOUT_S = 1.5; // without a status for this long, the connection counts as lost

export const now = () => performance.now() / 1000;

// Receives pictures while the page is visible; reconnects by itself.
export class PictureSocket {
  // `show`: takes a message, a Blob; the next is requested when its promise is fulfilled.
  constructor(show) {
    this.show = show;
    this.socket = null;
    this.retry_s = 0.5;
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) this.#close();
      else this.#open();
    });
    this.#open();
  }

  get isOpen() {
    return this.socket?.readyState === WebSocket.OPEN;
  }

  #open() {
    if (this.socket || document.hidden) return;
    const opened = new WebSocket(new URL("live", location.href.replace(/^http/, "ws")));
    this.socket = opened;
    opened.binaryType = "blob";
    opened.onmessage = async ({ data }) => {
      try {
        if (this.socket === opened) await this.show(data);
        this.retry_s = 0.5;
      } catch (error) {
        console.warn("showing a picture failed", error);
      }
      if (opened.readyState === WebSocket.OPEN) opened.send("shown"); // requests the next picture
    };
    opened.onclose = () => {
      if (this.socket !== opened) return;
      this.socket = null;
      setTimeout(() => this.#open(), 1000 * this.retry_s);
      this.retry_s = Math.min(4, 2 * this.retry_s);
    };
  }

  #close() {
    const open = this.socket;
    this.socket = null;
    open?.close();
  }
}

// Receives events; reconnects by itself. `on`: functions that take a status, the history, nothing at the end of the run,
// and the reason why the server refuses, "" if the connection was lost.
export function listen(on) {
  const events = new EventSource("api/events");
  events.onmessage = ({ data }) => on.status(JSON.parse(data));
  events.addEventListener("history", ({ data }) => on.history?.(JSON.parse(data)));
  events.addEventListener("end", () => on.end());
  events.onerror = async () => {
    events.close();
    let refused = "";
    try {
      const answer = await fetch("api/events", { cache: "no-store" }); // an EventSource does not tell why it failed
      if (answer.ok) await answer.body.cancel();
      else refused = (await answer.json()).error;
    } catch {
      // the server is gone
    }
    on.lost(refused);
    setTimeout(() => listen(on), 1000);
  };
}

// Posts a change; returns [answer, ""] or [null, why it failed].
export async function post(path, values) {
  try {
    const answer = await fetch(path, {
      method: "POST",
      headers: { "Content-Type": "application/json", "X-Stream-Segment": "1" },
      body: JSON.stringify(values),
    });
    const body = await answer.json();
    return answer.ok ? [body, ""] : [null, body.error];
  } catch {
    return [null, "The server did not respond: nothing was changed."];
  }
}
