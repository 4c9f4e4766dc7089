// A hop between client and server that buffers answers, as some proxies, gateways and virus scanners do.

import http from "node:http";

const BLOCK = 4096;

/**
 * `hop.how` may change at any time, for later requests: "pass"; "hold": an answer passes when it has ended, with its
 * headers; "opening": the first piece passes, the rest passes when the answer has ended; "late": requests of the hop's
 * first two seconds are answered 1.5 s late; "502": an answer without the server; "away": the connection breaks; "blocks": bytes pass when there are 4 KB of them, or at the answer's end
 * (`hop.blocks` have passed). `hop.lag`: ms by which requests of streams are delayed, but not those of polls. `hop.cut()`
 * breaks the connections that are open.
 */
export async function hop(t, site, how) {
  const made = { how, asked: [], headers: [], methods: [], blocks: 0, lag: 0 };
  const open = new Set();
  made.cut = () => open.forEach((response) => response.destroy());
  const start = Date.now();
  const server = http.createServer(async (request, response) => {
    made.asked.push(request.url);
    made.headers.push(request.headers);
    made.methods.push(request.method);
    const { how } = made;
    if (how === "away") return request.destroy();
    if (how === "502") return response.writeHead(502).end();
    open.add(response);
    if (made.lag && !request.url.includes("poll=")) await new Promise((resolve) => setTimeout(resolve, made.lag));
    if (response.closed) return;
    const began = Date.now();
    const held = [];
    let pieces = 0;
    const passes = () => how === "pass" || how === "late" || (how === "opening" && pieces === 1);
    // As nginx does by default: the server may close a kept-alive connection at the moment when it is used again.
    const options = { method: request.method, headers: { ...request.headers, connection: "close" }, agent: false };
    const upstream = http.request(site + request.url, options, async (answer) => {
      const wait = how === "late" && began - start < 2000 ? 1500 : 0;
      await new Promise((resolve) => setTimeout(resolve, wait));
      if (how !== "hold") response.writeHead(answer.statusCode, answer.headers).flushHeaders();
      answer.on("data", (data) => {
        pieces += 1;
        if (passes()) response.write(data);
        else held.push(data);
        if (how === "blocks" && Buffer.concat(held).length >= BLOCK) {
          for (const piece of held.splice(0)) response.write(piece);
          made.blocks += 1;
        }
      });
      answer.on("end", () => {
        if (how === "hold") response.writeHead(answer.statusCode, answer.headers);
        response.end(Buffer.concat(held));
      });
      answer.on("error", () => response.destroy());
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => {
      open.delete(response);
      upstream.destroy();
    });
    request.pipe(upstream);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  made.url = `http://127.0.0.1:${server.address().port}`;
  return made;
}
