/**
 * Replies to readers that are slower than the server, where the system takes little at once and is
 * often exactly full: a network of its own whose send buffers are 16 KiB. There the defect of
 * uWebSockets.js 20.51 that uws.ts goes round shows in most chunked replies; with the buffers
 * of an everyday system in one of some thousands.
 */
import { execFile, spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import t from "tap";

const PEER = fileURLToPath(new URL("./full-buffer-peer.js", import.meta.url));
const SMALL_BUFFERS = `ip link set lo up && echo "4096 16384 16384" > /proc/sys/net/ipv4/tcp_wmem && echo "4096 131072 131072" > /proc/sys/net/ipv4/tcp_rmem`;
/** Without root the everyday buffers have to do. */
const isRoot = spawnSync("unshare", ["-n", "sh", "-c", SMALL_BUFFERS]).status === 0;

for (const kind of ["uws", "node"])
  for (const size of ["chunked", "sized"])
    t.test(
      `${kind}: ${size} replies reach slow readers byte for byte${isRoot ? "" : " (with everyday buffers)"}`,
      async (t) => {
        const command = ["exec", process.execPath, PEER, kind, size].join(" ");
        const run = isRoot
          ? ["unshare", "-n", "sh", "-c", `${SMALL_BUFFERS} && ${command}`]
          : ["sh", "-c", command];
        const { stdout } = await promisify(execFile)(run[0] as string, run.slice(1), {
          timeout: 120_000,
        });
        t.same(JSON.parse(stdout), { replies: 150, wrong: [] });
      },
    );
