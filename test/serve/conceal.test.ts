/** A name is cut where it stands as a word, and nowhere else. */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { concealed, concealing } from "../../src/serve/conversation/conceal.js";

t.test("as a word of its own", async (t) => {
  const conceal = concealing("shop");
  for (const [text, told] of [
    ["repository shop: not found", "repository …: not found"],
    ["lakefs://shop/main", "lakefs://…/main"],
    ["GET /repositories/shop/branches", "GET /repositories/…/branches"],
    ["shop", "…"],
    ['"shop" and shop.', '"…" and ….'],
    ["workshop, shop-2, my-shop, shops", "workshop, shop-2, my-shop, shops"],
  ] as const)
    t.equal(conceal(text), told);
});

t.test("in the facts of a failure, which stays the same failure", async (t) => {
  const fault = new Fault("lakefs/missing", {
    call: "getBranch",
    status: 404,
    reason: "no branch in shop",
  });
  const told = concealed(fault, concealing("shop"));
  t.match(told, {
    code: "lakefs/missing",
    facts: { call: "getBranch", status: 404, reason: "no branch in …" },
    message: /no branch in …/,
  });
  t.equal(told.cause, fault, "the log has all of it");
  t.equal(concealed(fault, undefined), fault);
});
