/** Headers that count for where a request comes from. */
import t from "tap";
import { Clients } from "../../src/transport/http/client.js";
import type { HttpRequest } from "../../src/transport/http/contract.js";

function request(remote: string, headers: Readonly<Record<string, string>>): HttpRequest {
  const all: Record<string, string> = { host: "inner:8080", ...headers };
  return {
    remote,
    header: (name: string) => all[name],
    headerNames: () => Object.keys(all),
  } as unknown as HttpRequest;
}

const PROXY = "10.0.0.1";
const clients = new Clients({
  trustedProxies: ["10.0.0.0/8", "fd00::/8"],
  publicUrl: "",
  tls: false,
});
const of = (headers: Readonly<Record<string, string>>, remote = PROXY) => {
  const { address, base } = clients.of(request(remote, headers));
  return `${address} ${base}`;
};

t.test("a trusted proxy is believed, nobody else", async (t) => {
  const headers = {
    "x-forwarded-for": "192.0.2.7",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "hub.example",
  };
  t.equal(of(headers), "192.0.2.7 https://hub.example");
  t.equal(
    of(headers, "::ffff:10.0.0.1"),
    "192.0.2.7 https://hub.example",
    "IPv4 in IPv6's clothes",
  );
  t.equal(
    of(headers, "0000:0000:0000:0000:0000:ffff:0a00:0001"),
    "192.0.2.7 https://hub.example",
    "as uWebSockets.js spells it",
  );
  t.equal(of(headers, "192.0.2.9"), "192.0.2.9 http://inner:8080", "a stranger's word");
  t.equal(of({}), "10.0.0.1 http://inner:8080");
});

t.test("what the client itself wrote before the proxies is not believed", async (t) => {
  t.equal(of({ "x-forwarded-for": "127.0.0.1, 192.0.2.7" }), "192.0.2.7 http://inner:8080");
  t.equal(
    of({ "x-forwarded-for": "127.0.0.1, 192.0.2.7, 10.9.9.9" }),
    "192.0.2.7 http://inner:8080",
    "through two proxies of ours",
  );
  t.equal(
    of({ "x-forwarded-for": "10.2.2.2, 10.9.9.9" }),
    "10.2.2.2 http://inner:8080",
    "all ours: the first",
  );
  t.equal(
    of({ "x-forwarded-for": "192.0.2.7", "x-forwarded-proto": "http, https" }),
    "192.0.2.7 https://inner:8080",
    "the nearest proxy's word",
  );
  t.equal(of({ "x-forwarded-for": "unknown" }), "10.0.0.1 http://inner:8080", "no address");
  t.equal(
    of({
      "x-forwarded-for": "192.0.2.7",
      "x-forwarded-proto": "javascript",
      "x-forwarded-host": 'x"><b>',
    }),
    "192.0.2.7 http://inner:8080",
  );
});

t.test("Forwarded, RFC 7239", async (t) => {
  t.equal(
    of({ forwarded: "for=192.0.2.60;proto=https;host=hub.example:8443;by=203.0.113.43" }),
    "192.0.2.60 https://hub.example:8443",
  );
  t.equal(
    of({ forwarded: 'For="[2001:db8:cafe::17]:4711", for=10.3.3.3' }),
    "2001:db8:cafe::17 http://inner:8080",
  );
  t.equal(of({ forwarded: "for=_hidden, for=10.3.3.3" }), "10.0.0.1 http://inner:8080");
});

t.test("what a client puts into Forwarded to get at what its proxy adds", async (t) => {
  const added = (own: string) => of({ forwarded: `${own}, for=192.0.2.7` });
  for (const own of [
    'for="127.0.0.1',
    "for=127.0.0.1;",
    'for="[::1]',
    "for=127.0.0.1;by=x;host=localhost",
    '"',
    "for=\\",
    ",,,",
    "=",
    "for=10.0.0.9",
  ])
    t.equal(added(own), "192.0.2.7 http://inner:8080", own);
  t.equal(
    of({ forwarded: "for=192.0.2.7;for=127.0.0.1" }),
    "127.0.0.1 http://inner:8080",
    "one element is one proxy's word, whatever it says",
  );
  t.equal(of({ "x-forwarded-for": "127.0.0.1,,192.0.2.7" }), "192.0.2.7 http://inner:8080");
  t.equal(
    of({ "x-forwarded-for": "192.0.2.7, 127.0.0.1:80, " }),
    "10.0.0.1 http://inner:8080",
    "nothing said is nothing believed",
  );
  t.equal(
    of({ forwarded: Array(5_000).fill("for=10.1.1.1").join(", ") }),
    "10.1.1.1 http://inner:8080",
  );
});

t.test("both kinds: believed where they agree, else one is the client's own", async (t) => {
  t.equal(
    of({
      forwarded: "for=192.0.2.7",
      "x-forwarded-for": "192.0.2.7",
      "x-forwarded-proto": "https",
    }),
    "192.0.2.7 https://inner:8080",
  );
  t.equal(
    of({ forwarded: "for=127.0.0.1;host=evil.example", "x-forwarded-for": "192.0.2.7" }),
    "10.0.0.1 http://inner:8080",
  );
});

t.test("a public URL comes before what anybody says", async (t) => {
  const behind = new Clients({
    trustedProxies: [PROXY],
    publicUrl: "https://hub.example/git",
    tls: false,
  });
  t.equal(
    behind.of(request(PROXY, { "x-forwarded-host": "other.example" })).base,
    "https://hub.example/git",
  );
  t.equal(
    new Clients({ trustedProxies: [], publicUrl: "", tls: true }).of(request("192.0.2.1", {})).base,
    "https://inner:8080",
  );
});

t.test("sources that belong together, and this machine", async (t) => {
  const source = (remote: string) => clients.of(request(remote, {})).source;
  t.equal(source("192.0.2.1"), "192.0.2.1");
  t.equal(source("::ffff:192.0.2.1"), "192.0.2.1");
  t.equal(
    source("2001:db8:1:2:aaaa::1"),
    source("2001:0db8:0001:0002:0000:0000:0000:0009"),
    "one network",
  );
  t.not(source("2001:db8:1:2::1"), source("2001:db8:1:3::1"));
  const isLocal = (remote: string, headers: Readonly<Record<string, string>>) =>
    clients.of(request(remote, headers)).isLocal;
  t.equal(isLocal("127.0.0.1", { host: "localhost:8080" }), true);
  t.equal(isLocal("::1", { host: "[::1]:8080" }), true);
  t.equal(
    isLocal("0000:0000:0000:0000:0000:0000:0000:0001", { host: "localhost" }),
    true,
    "as uWebSockets.js spells it",
  );
  t.equal(
    isLocal("127.0.0.1", { host: "hub.example" }),
    false,
    "through a proxy that keeps the name",
  );
  t.equal(isLocal("127.0.0.1", { host: "localhost", "x-forwarded-for": "127.0.0.1" }), false);
  t.equal(isLocal("192.0.2.1", { host: "localhost" }), false);
});

t.test("networks that are none", async (t) => {
  for (const text of ["hub.example", "10.0.0.0/33", "10.0.0.0/x", "::1/129", "10.0.0.0/"]) {
    t.throws(
      () => new Clients({ trustedProxies: [text], publicUrl: "", tls: false }),
      { code: "settings/bad-value", message: /trusted_proxies/ },
      text,
    );
  }
});
