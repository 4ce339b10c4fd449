/** Links to bundles: each is good for one bundle, one name, one repository, and an hour. */
import t from "tap";
import { Fault } from "../../src/base/fault.js";
import { LIMITS } from "../../src/base/limits.js";
import { LinkProofs } from "../../src/lfs/proof.js";
import { readRepositoryName } from "../../src/serve/conversation/repository-name.js";
import { BundleLinks, type LinkedBundle } from "../../src/serve/fetch/bundle-links.js";

const KEY = new Uint8Array(32).fill(7);
const BUNDLE: LinkedBundle = { name: "ab".repeat(20), bytes: 1_234 };
const NAME = readRepositoryName("ada/model");
const HOLDER = "beef";

function made(clock: { ms: number }, key = KEY) {
  const links = new BundleLinks(new LinkProofs(key, () => clock.ms));
  const given = { repository: "one", holder: HOLDER };
  const uri = new URL(links.make("http://host/ada/model.git", BUNDLE, NAME, given));
  return { links, uri, proof: uri.searchParams.get("proof") };
}

function refusal(work: () => unknown): string {
  try {
    work();
    return "";
  } catch (error) {
    if (error instanceof Fault) return error.code;
    throw error;
  }
}

t.test("a link is good until its time is over", async (t) => {
  const clock = { ms: 1_700_000_000_000 };
  const { links, uri, proof } = made(clock);
  t.equal(uri.pathname, `/ada/model.git/bundles/${BUNDLE.name}/${BUNDLE.bytes}`);
  t.equal(links.admit(proof, BUNDLE, NAME), HOLDER);
  links.check(proof, BUNDLE, NAME, "one");
  clock.ms += LIMITS.bundleLinkSeconds * 1_000;
  t.equal(links.admit(proof, BUNDLE, NAME), HOLDER, "in its last second");
  clock.ms += 1;
  t.equal(
    refusal(() => links.admit(proof, BUNDLE, NAME)),
    "lfs/proof",
  );
});

t.test("a link is no good for anything else", async (t) => {
  const clock = { ms: 1_700_000_000_000 };
  const { links, proof } = made(clock);
  const refused = (work: () => unknown, says: string) => t.equal(refusal(work), "lfs/proof", says);
  const other = readRepositoryName("ada/other");
  refused(() => links.admit(proof, { ...BUNDLE, bytes: 1_235 }, NAME), "another size");
  refused(() => links.admit(proof, { ...BUNDLE, name: "cd".repeat(20) }, NAME), "another bundle");
  refused(() => links.admit(proof, BUNDLE, other), "another name");
  refused(() => links.check(proof, BUNDLE, NAME, "two"), "another repository of that name");
  refused(() => links.admit(null, BUNDLE, NAME), "none");
  const foreign = made(clock, new Uint8Array(32).fill(8)).proof;
  refused(() => links.admit(foreign, BUNDLE, NAME), "another server's key");
  const lfs = new LinkProofs(KEY, () => clock.ms);
  const grant = { asked: "ada/model", oid: BUNDLE.name, size: BUNDLE.bytes, repository: "one" };
  const download = lfs.make({ ...grant, purpose: "download" }, HOLDER, 100);
  refused(() => links.admit(download, BUNDLE, NAME), "a link of Git LFS");
});
