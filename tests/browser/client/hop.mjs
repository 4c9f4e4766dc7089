// A hop between client and server that holds answers back, as some proxies, gateways and virus scanners do.

import http from "node:http";

const BLOCK = 4096;

/**
 * `hop.how` may change at any time, for what is asked from then on: "pass"; "hold": an answer comes when it has ended,
 * headers and all; "opening": the first piece passes, the rest comes when it has ended; "late": what is asked in
 * the hop's first two seconds is answered 1.5 s late; "blocks": what comes passes when it is 4 KB, or at its end
 * (`hop.blocks` have passed). `hop.lag`: ms that a stream is asked for later than a poll.
 */
export async function hop(t, site, how) {
  const made = { how, asked: [], headers: [], blocks: 0, lag: 0 };
  const start = Date.now();
  const server = http.createServer(async (request, response) => {
    made.asked.push(request.url);
    made.headers.push(request.headers);
    const { how } = made;
    if (made.lag && !request.url.includes("poll=")) await new Promise((resolve) => setTimeout(resolve, made.lag));
    if (response.closed) return;
    const began = Date.now();
    const held = [];
    let pieces = 0;
    const passes = () => how === "pass" || how === "late" || (how === "opening" && pieces === 1);
    // As nginx does by default: one that is kept may be closed by the server at the moment it is used again.
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
    response.on("close", () => upstream.destroy());
    upstream.end();
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  made.url = `http://127.0.0.1:${server.address().port}`;
  return made;
}
