/** Addresses of PostgreSQL. */
import t from "tap";
import { isPostgresUrl, placeOf, readPostgresUrl } from "../../src/database/postgres-url.js";

t.test("each part, as it is written in a URL", async (t) => {
  const whole = "postgres://ada:s%40e%2Fsame%25@db.example.com:6543/hub?sslmode=verify-full";
  t.same(readPostgresUrl(whole), {
    host: "db.example.com",
    port: 6_543,
    user: "ada",
    password: "s@e/same%",
    name: "hub",
    sslMode: "verify-full",
  });
  t.equal(placeOf(whole), "db.example.com:6543/hub", "nothing secret");
  t.same(readPostgresUrl("postgresql://[2001:db8::1]"), {
    host: "2001:db8::1",
    port: 5_432,
    user: undefined,
    password: undefined,
    name: undefined,
    sslMode: "require",
  });
  t.equal(placeOf("postgresql://[2001:db8::1]"), "[2001:db8::1]:5432/");
  t.match(readPostgresUrl("postgres://ada@%2Frun%2Fpostgresql/hub"), {
    host: "/run/postgresql",
    user: "ada",
    name: "hub",
    sslMode: "disable",
  });
});

t.test("clear text only on this machine, unless told", async (t) => {
  const mode = (host: string, query = "") =>
    readPostgresUrl(`postgres://${host}/x${query}`)?.sslMode;
  for (const host of ["localhost", "127.0.0.1", "127.9.9.9", "[::1]"])
    t.equal(mode(host), "disable");
  for (const host of ["10.0.0.1", "localhost.example.com", "128.0.0.1"])
    t.equal(mode(host), "require", host);
  t.equal(mode("10.0.0.1", "?sslmode=disable"), "disable");
  t.equal(mode("localhost", "?sslmode=require"), "require");
});

t.test("what is not known here is refused, not passed over", async (t) => {
  for (const text of [
    "postgres:",
    "postgres://",
    "postgres:///name",
    "postgres://a:b:c:d/x",
    "postgres://host:port/x",
    "postgres://host/%zz",
    "postgres://host/x?sslmode=prefer",
    "postgres://host/x?sslmode=",
    "postgres://host/x?sslmode=require&sslrootcert=/x",
    "postgres://host/x?application_name=x",
    "postgres://host/x#y",
  ]) {
    t.ok(isPostgresUrl(text), `${text}: no file's name`);
    t.equal(readPostgresUrl(text), undefined, text);
    t.equal(placeOf(text), "");
  }
  for (const text of ["lakepack.db", "/data/postgres.db", "mysql://host/x"])
    t.notOk(isPostgresUrl(text), text);
});
