/**
 * lakeFS's name of a repository is told to nobody who may not read it by that name: not by the API,
 * not in a notice, not in a failure.
 */
import t from "tap";
import { frontEnds } from "../support/everyday.js";
import { startProxy } from "../support/lakefs-proxy.js";
import { skipLakefs, startLakefs } from "../support/lakefs-servers.js";
import { startGuarded } from "../support/accounts-rig.js";
import { commit, git, logShows, tryGit } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";
import { put, settingsFor, signal } from "../support/lakefs-rig.js";

t.setTimeout(300_000);

const NAME = "secret-stock";
/**
 * git shows credentials of an address only after a 401, and a public repository never answers that.
 */
const as = (token?: string) =>
  token === undefined ? [] : ["-c", `http.extraHeader=Authorization: Bearer ${token}`];

for (const kind of frontEnds) {
  t.test(
    `lakeFS's names stay with who may see them (${kind})`,
    { skip: skipLakefs, timeout: 240_000 },
    async (t) => {
      const lakefs = await startLakefs(t);
      const proxy = await startProxy(t, lakefs);
      await lakefs.client.createRepository(
        { name: NAME, storage_namespace: lakefs.namespace("space"), default_branch: "main" },
        signal,
      );
      await put(lakefs, NAME, "a.txt", "a\n");
      for (let at = 0; at < 12; at++) await put(lakefs, NAME, `a//${at}`, "not in Git\n");
      await lakefs.client.in(NAME).commit("main", { message: "one" }, signal);
      const server = await startGuarded(t, {
        args: ["--transport", kind],
        env: settingsFor(lakefs, proxy.url),
      });
      const [acme, rita] = [await server.user("acme"), await server.user("rita")];
      await server.command("repo.create", {
        name: "acme/model",
        lakefs: NAME,
        visibility: "public",
      });
      await server.command("repo.grant", { name: `lakefs/${NAME}`, user: "rita", role: "read" });
      const api = async (token?: string, path = "") => {
        const reply = await fetch(`${server.url}/api/repos/acme/model${path}`, {
          headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
        });
        return { status: reply.status, text: await reply.text() };
      };

      await t.test("by the API", async (t) => {
        for (const [who, token] of [
          ["nobody in particular", undefined],
          ["the owner of the other name", acme],
        ] as const) {
          const { text } = await api(token);
          t.match(JSON.parse(text), { name: "acme/model", lakefs: null }, who);
          t.notMatch(text, NAME, who);
        }
        for (const [who, token] of [
          ["an administrator", server.adminToken],
          ["who was granted to read it", rita],
        ] as const)
          t.match(JSON.parse((await api(token)).text), { lakefs: NAME }, who);
      });

      await t.test("in notices", async (t) => {
        const told = async (token?: string) =>
          (
            await tryGit([
              ...as(token),
              "clone",
              "--progress",
              server.at("acme/model"),
              `${await tempFolder(t)}/clone`,
            ])
          ).stderr;
        const open = await told();
        t.match(open, /and 2 more: lakepack doctor --lakefs with its name in lakeFS lists all/);
        t.notMatch(open, NAME);
        t.match(await told(server.adminToken), `doctor --lakefs ${NAME} lists all`);
      });

      await t.test("in failures of every kind of request", async (t) => {
        const work = `${await tempFolder(t)}/work`;
        await git(["clone", "-q", server.at("acme/model", acme), work]);
        await commit(work, "two", { "b.txt": "b\n" });
        const body = JSON.stringify({
          message: `repository ${NAME}: lakefs://${NAME}/main is broken`,
        });
        const run = async (token: string | undefined): Promise<string> => {
          const said = [
            (await tryGit([...as(token), "ls-remote", server.at("acme/model")])).stderr,
          ];
          for (const version of [0, 2] as const)
            said.push(
              (
                await tryGit([...as(token), "fetch", server.at("acme/model")], {
                  cwd: work,
                  version,
                })
              ).stderr,
            );
          said.push(
            (
              await tryGit(
                [
                  ...as(token ?? acme),
                  "push",
                  server.at("acme/model"),
                  "main",
                  "HEAD:refs/tags/v1",
                  "HEAD:refs/heads/new",
                ],
                { cwd: work },
              )
            ).stderr,
          );
          said.push((await api(token)).text, (await api(token, `/commits/${"a".repeat(40)}`)).text);
          const headers = {
            "Content-Type": "application/vnd.git-lfs+json",
            ...(token === undefined ? {} : { Authorization: `Bearer ${token}` }),
          };
          const batch = {
            method: "POST",
            headers,
            body: JSON.stringify({
              operation: "download",
              objects: [{ oid: "b".repeat(64), size: 5 }],
            }),
          };
          said.push(
            await (
              await fetch(`${server.url}/acme/model.git/info/lfs/objects/batch`, batch)
            ).text(),
          );
          return said.join("\n");
        };
        for (const status of [400, 401, 404, 409, 410, 412, 500]) {
          for (const [what, pattern] of [
            ["every call", /./],
            ["a list of branches", /\/branches/],
            ["what a push writes", /\/branches\/[^/]*\/objects|\/merge\/|\/commits$/],
          ] as const) {
            proxy.onCall = ({ path }) =>
              pattern.test(path)
                ? { as: "answer", status, body, headers: { "content-type": "application/json" } }
                : undefined;
            for (const token of [undefined, acme])
              t.notMatch(await run(token), NAME, `${status} for ${what}`);
          }
        }
        proxy.onCall = ({ path }) =>
          /\/merge\//.test(path)
            ? { as: "answer", status: 412, body, headers: { "content-type": "application/json" } }
            : undefined;
        t.match(
          await run(acme),
          /it could not be found out whether lakeFS runs hooks, .*repository …: lakefs:\/\/…\/main is broken/,
          "all but the name is told",
        );
        t.match(
          await run(server.adminToken),
          `lakefs://${NAME}/main is broken`,
          "and to administrators all",
        );
        t.ok(
          await logShows(server, new RegExp(`lakefs://${NAME}/main is broken`)),
          "the log has it as it was",
        );
      });
    },
  );
}
