/**
 * Makes the tree that Git is shown of a listing, with the managed block in the root's
 * .gitattributes.
 */
import { formatTree, parseTree } from "../../git/tree-entries.js";
import type { Oid } from "../../git/oid.js";
import { managedBlock, withBlock } from "../rules/managed-block.js";
import type { Census } from "./census.js";
import { attributeBudget, type AttributesFile, saidByTree } from "../rules/commit-attributes.js";
import type { Mapping } from "../rules/contract.js";
import type { ObjectOutput } from "./object-output.js";
import { ATTRIBUTES_NAME, FILE_MODE, isFileMode } from "../rules/path-rules.js";
import { TreeLookup } from "./tree-builder.js";

/**
 * The .gitattributes files of a tree. A folder, a link or a pointer of that name holds no
 * attributes.
 */
export function treeAttributes(
  output: ObjectOutput,
  lookup: TreeLookup,
  isPointer: (path: string) => boolean,
): (folder: string) => AttributesFile {
  return (folder) => {
    const path = folder === "" ? ATTRIBUTES_NAME : `${folder}/${ATTRIBUTES_NAME}`;
    const entry = lookup.find(path);
    const isFile = entry !== undefined && isFileMode(entry.mode) && !isPointer(path);
    return isFile ? { oid: entry.oid, text: output.readBlob(entry.oid) } : undefined;
  };
}

/** The tree with the block. `census`: of `tree`. Throws "lakefs/too-many-attributes". */
export function shownTree(output: ObjectOutput, tree: Oid, census: Census, mapping: Mapping): Oid {
  const lookup = new TreeLookup(output, tree);
  const own = lookup.find(ATTRIBUTES_NAME);
  // What holds no attributes cannot be given any.
  if (own !== undefined && (!isFileMode(own.mode) || census.isPointer(ATTRIBUTES_NAME)))
    return tree;
  const file = own === undefined ? undefined : output.readBlob(own.oid);
  const said = saidByTree(
    treeAttributes(output, lookup, (path) => census.isPointer(path)),
    attributeBudget(),
  );
  const next = withBlock(
    file,
    managedBlock(census.sorted(), (path) => said(path) === "lfs", mapping),
  );
  if (next === undefined || next === file) return tree;
  const entries = parseTree(output.readTree(tree));
  const mode = own?.mode ?? FILE_MODE.plain;
  entries.set(ATTRIBUTES_NAME, {
    name: ATTRIBUTES_NAME,
    mode,
    oid: output.add("blob", next, true),
  });
  return output.addTree(formatTree(entries.values()), tree);
}
