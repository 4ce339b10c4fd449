/** Door: Git LFS (src/lfs). */
export { hashPiece as hash } from "../src/lfs/hash-piece.js";
