import t from "tap";
import { bundleUriAnswer, BundleUriArguments } from "../../src/wire/bundle-uri.js";
import { faultOf, lines } from "../support/wire-requests.js";

const HEAD = ["bundle.version=1", "bundle.mode=all", "bundle.heuristic=creationToken"];

t.test("each bundle has its address and its token, in the order given", async (t) => {
  t.same(lines(bundleUriAnswer([])), [...HEAD, "flush"]);
  t.same(
    lines(
      bundleUriAnswer([
        { id: "a1", uri: "https://host/a?proof=1", creationToken: 7 },
        { id: "b2", uri: "https://host/b", creationToken: 8 },
      ]),
    ),
    [
      ...HEAD,
      "bundle.a1.uri=https://host/a?proof=1",
      "bundle.a1.creationToken=7",
      "bundle.b2.uri=https://host/b",
      "bundle.b2.creationToken=8",
      "flush",
    ],
  );
});

t.test("the command takes no argument", async (t) => {
  t.same(new BundleUriArguments().finish(), {});
  t.equal(
    faultOf(() => new BundleUriArguments().take("mode any")),
    "wire/bad-request",
  );
});
