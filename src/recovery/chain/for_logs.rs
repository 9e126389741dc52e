//! What others have written, made fit for logs.

use super::ChainError;

/// The text cut and on one line: nothing in it can look like another line of a log or steer a terminal, and
/// words that name a transaction, a key or a server are left out (safety rule 13).
pub(super) fn for_logs(text: &str) -> String {
    let mut said = String::new();
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()) {
        if word.is_empty() {
            continue;
        }
        if !said.is_empty() {
            said.push(' ');
        }
        said.push_str(if names_something(word) { "..." } else { word });
        if said.len() >= 4 * ChainError::MAX_TEXT {
            break;
        }
    }
    said.chars().take(ChainError::MAX_TEXT).collect()
}

/// 16 bytes: shorter than any key, id or hash.
const HEX_DIGITS: usize = 32;

fn names_something(word: &str) -> bool {
    let runs = word.split(|c: char| !c.is_ascii_hexdigit());
    runs.map(str::len).any(|length| length >= HEX_DIGITS)
        || word.contains("://")
        || is_address(word)
}

/// `host:port`, in whatever marks.
fn is_address(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| !c.is_alphanumeric() && c != '[');
    let Some((host, port)) = bare.rsplit_once(':') else {
        return false;
    };
    port.parse::<u16>().is_ok() && host.contains(['.', ']'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_from_outside_is_cut_and_stays_on_one_line() {
        let text = format!("bad\r\n\x1b[2J{}", "\u{fc}".repeat(1000));
        let said = for_logs(&text);
        assert_eq!(said.chars().count(), ChainError::MAX_TEXT);
        assert!(said.starts_with("bad [2J"));
        assert!(!said.chars().any(char::is_control));
    }

    #[test]
    fn words_that_name_a_transaction_a_key_or_a_server_are_left_out() {
        let txid = "ab".repeat(32);
        for named in [
            txid.clone(),
            format!("{txid}:0,"),
            format!("(02{txid})"),
            "https://chain.example/api/tx".to_owned(),
            "127.0.0.1:3000".to_owned(),
            "'chain.example:443',".to_owned(),
            "([::1]:443)".to_owned(),
        ] {
            let said = for_logs(&format!("refused: {named} is not taken"));
            assert_eq!(said, "refused: ... is not taken");
        }
    }

    #[test]
    fn other_words_stay() {
        let text = "bad-txns-inputs-missingorspent, code -25: 12 < 13 (1.5 sat/vB at 10:45)";
        assert_eq!(for_logs(text), text);
    }
}
