//! Exit codes, as the interface has them.

/// All is well.
pub const OK: u8 = 0;
/// It did not work.
pub const FAILED: u8 = 1;
/// The command line makes no sense.
pub const USAGE: u8 = 2;
/// The configuration is refused (`EX_CONFIG` of sysexits): trying again is of no use.
pub const CONFIG: u8 = 78;
