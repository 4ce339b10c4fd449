import type { ObjectType, Oid } from "./oid.js";
export interface CheckMarks { gitmodules: Oid[]; gitattributes: Oid[]; }
export interface Refusal { readonly id: string; readonly text: string; }
export function checkObject(_type: ObjectType, _data: Uint8Array, _marks: CheckMarks): Refusal | undefined { return undefined; }
export function checkGitmodules(_data: Uint8Array): Refusal | undefined { return undefined; }
export function checkGitattributes(_data: Uint8Array): Refusal | undefined { return undefined; }
