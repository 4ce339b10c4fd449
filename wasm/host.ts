// What the kernels ask of JavaScript: only for bytes they lack and for objects that look wrong.

// @ts-ignore: decorator
@external("host", "readPack")
export declare function readPack(offset: f64, to: usize, length: u32): u32;
// @ts-ignore: decorator
@external("host", "loadExternal")
export declare function loadExternal(external: u32, to: usize, size: u32): u32;
// @ts-ignore: decorator
@external("host", "judge")
export declare function judge(record: u32, type: u32, at: usize, size: u32): i32;
// @ts-ignore: decorator
@external("host", "spill")
export declare function spill(at: usize, size: u32): i32;
// @ts-ignore: decorator
@external("host", "unspill")
export declare function unspill(at: usize, size: u32): i32;
