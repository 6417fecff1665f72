//! What the program says to somebody who types.

use crate::process::candor;

#[test]
fn a_wrong_setting_is_refused_by_its_name() {
    let output = candor().env("CANDOR_LISTEN", "everywhere").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let words = String::from_utf8(output.stderr).unwrap();
    assert_eq!(words, "candor: CANDOR_LISTEN: \"everywhere\" is not an address and port such as 127.0.0.1:8080\n");
}
