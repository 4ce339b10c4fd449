import t from "tap";
import { skipLakefs, startLakefs } from "../../support/lakefs-servers.js";
import { lakefsContract } from "./contract.js";

t.test("lakeFS with s3 blocks", { skip: skipLakefs, timeout: 120_000 }, async (t) =>
  lakefsContract(t, await startLakefs(t, "s3")),
);
