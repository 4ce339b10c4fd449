/** Several commands of one invocation, with a server on the folder and without. */
import { join } from "node:path";
import t from "tap";
import { checkSettings } from "../../src/cli/server/settings.js";
import { control, controlling } from "../../src/cli/terminal/control.js";
import { lockDataFolder } from "../../src/database/data-lock.js";
import { startLakepack } from "../support/harness.js";
import { tempFolder } from "../support/temp-folder.js";

t.test("without a server the folder is opened once, and given back", async (t) => {
  const data = join(await tempFolder(t), "data");
  const settings = checkSettings({ data, log_level: "error", pool_threads: 1 });
  const names = await controlling(settings, async (send) => {
    await send("repo.create", { name: "ns/one" });
    t.throws(() => lockDataFolder(data), { code: "store/locked" }, "it is ours between commands");
    await send("repo.create", { name: "ns/two" });
    return (await send("repo.list", { after: "" })).map(({ name }) => name);
  });
  t.same(names, ["ns/one", "ns/two"]);
  lockDataFolder(data).release();
  const failed = controlling(settings, async (send) => {
    await send("repo.list", { after: "" });
    return send("repo.show", { name: "ns/none" });
  });
  await t.rejects(failed, { code: "repository/missing" });
  lockDataFolder(data).release();
  const first = await control(settings, "repo.list", { after: "ns/one" });
  t.same(
    first.map(({ name }) => name),
    ["ns/two"],
  );
});

t.test("a server is asked for each, over a connection of its own", async (t) => {
  const data = join(await tempFolder(t), "data");
  const server = await startLakepack(t, { data });
  const settings = checkSettings({ data, log_level: "error", pool_threads: 1 });
  const names = await controlling(settings, async (send) => {
    await send("repo.create", { name: "ns/one" });
    const before = await send("repo.list", { after: "" });
    await server.stop();
    // The folder is free meanwhile, and what is asked next is done on it.
    return [...before, ...(await send("repo.list", { after: "" }))].map(({ name }) => name);
  });
  t.same(names, ["ns/one", "ns/one"]);
});
