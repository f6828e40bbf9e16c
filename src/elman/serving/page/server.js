// Requests to the server. An error has the parts of the server's one form.
export class Refused extends Error {
  constructor(status, { what, message, should, found, hint } = {}) {
    const should_be = should ? ` It should be ${should}` : "", is = found ? `${should ? ", and is" : " It is"} ${found}` : "";
    super(`${what ?? message ?? `The server answers ${status}`}.${should_be}${is}${should_be || is ? "." : ""}${hint ? ` Try: ${hint}.` : ""}`);
    this.status = status;
  }
}

export class Server {
  constructor() {
    this.token = sessionStorage.getItem("elman-token") ?? "";
  }

  keep(token) {
    this.token = token.trim();
    sessionStorage.setItem("elman-token", this.token);
  }

  async send(method, path, body, { signal } = {}) {
    const headers = this.token ? { authorization: `Bearer ${this.token}` } : {};
    if (body instanceof Uint8Array) headers["content-type"] = "application/octet-stream";
    else if (body !== undefined && !(body instanceof FormData)) {
      headers["content-type"] = "application/json";
      body = JSON.stringify(body);
    }
    const answer = await fetch(path, { method, headers, body, signal });
    if (answer.ok) return answer;
    const fields = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, fields.error);
  }

  async json(method, path, body, options) {
    const answer = await this.send(method, path, body, options);
    return answer.status === 204 ? null : answer.json();
  }

  async bytes(path) {
    return new Uint8Array(await (await this.send("GET", path)).arrayBuffer());
  }

  // The events of a stream.
  async *events(path, body, signal) {
    const answer = await this.send("POST", path, { ...body, stream: true }, { signal });
    const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      for (const part of parts) {
        if (part === "data: [DONE]") return;
        const event = JSON.parse(part.slice("data: ".length));
        if (event.error) throw new Refused(500, event.error);
        yield event;
      }
    }
  }

  socket(path) {
    const url = new URL(path, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    return new WebSocket(url, this.token ? ["elman", `bearer.${this.token}`] : ["elman"]);
  }
}
