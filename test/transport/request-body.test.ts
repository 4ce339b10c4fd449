/** Memory of a body's chunks, which a reader may give back: it is used again, and nobody else's ever is. */
import t from "tap";
import { RequestBody } from "../../src/transport/http-request-body.js";

const noFlow = { pause: () => undefined, resume: () => undefined };

t.test("what is given back is filled again", async (t) => {
  const body = new RequestBody(noFlow);
  const first = body.take(10_000).fill(1);
  body.push(first);
  t.equal(await body.read(), first);
  const second = body.take(10_000);
  t.not(second.buffer, first.buffer, "not before it is given back");
  body.release(first);
  const third = body.take(9_000);
  t.equal(third.buffer, first.buffer);
  t.equal(third.length, 9_000);
  t.not(body.take(9_000).buffer, first.buffer, "once");
  body.release(second);
  t.not(body.take(20_000).buffer, second.buffer, "where it is large enough");
  const large = body.take(20_000);
  body.release(large);
  t.equal(body.take(500_000).buffer, large.buffer, "which it is for what comes next");
});

t.test("memory that was made elsewhere is not taken, nor more than some", async (t) => {
  const body = new RequestBody(noFlow);
  const shared = Buffer.from("short texts lie in memory that all of Node shares");
  body.release(shared);
  t.not(body.take(10).buffer, shared.buffer);
  const made = Array.from({ length: 40 }, () => body.take(5_000));
  for (const chunk of made) body.release(chunk);
  const again = new Set(Array.from({ length: 40 }, () => body.take(5_000).buffer));
  const kept = made.filter(({ buffer }) => again.has(buffer)).length;
  t.ok(kept > 0 && kept <= 12, `${kept} were kept`);
});
