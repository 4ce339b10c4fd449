import t from "tap";
import { openTestStore, s3Options, skipS3, startS3Server } from "../support/s3-server.js";
import { storeConformance } from "./store.js";

t.test("S3", { skip: skipS3 }, async (t) => {
  const server = await startS3Server(t);
  let stores = 0;
  await storeConformance(t, async () =>
    openTestStore(t, await s3Options(t, server, { prefix: `conformance/${stores++}` })),
  );
});
