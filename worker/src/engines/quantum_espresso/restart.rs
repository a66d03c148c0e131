//! Makes of an input one that goes on from what an earlier attempt saved in its `outdir`.

use super::namelist;

/// The input with `restart_mode = 'restart'` in `&control`, everything else untouched; `None` when it has
/// no such namelist.
pub fn restarting(text: &str) -> Option<String> {
    const RESTART: &str = "'restart'";
    let groups = namelist::groups(text);
    let control = groups.iter().find(|group| group.name == "control")?;
    let spans: Vec<_> = control
        .assignments
        .iter()
        .filter(|one| one.name == "restart_mode")
        .map(|one| one.span.clone())
        .collect();
    let mut edited = String::with_capacity(text.len() + 64);
    let mut at = 0;
    if spans.is_empty() {
        at = control.begins;
        edited.push_str(&text[..at]);
        edited.push_str(&format!("\n  restart_mode = {RESTART}\n"));
    }
    for span in spans {
        edited.push_str(&text[at..span.start]);
        edited.push_str(RESTART);
        at = span.end;
    }
    edited.push_str(&text[at..]);
    Some(edited)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn mode(text: &str) -> Option<String> {
        let groups = namelist::groups(text);
        let control = groups.iter().find(|group| group.name == "control")?;
        control.value("restart_mode").map(str::to_owned)
    }

    #[test]
    fn an_input_without_a_mode_gets_one() {
        let text = "&CONTROL\n  prefix = 'si'\n/\n&SYSTEM\n/\n";
        let edited = restarting(text).unwrap();
        assert_eq!(edited, "&CONTROL\n  restart_mode = 'restart'\n\n  prefix = 'si'\n/\n&SYSTEM\n/\n");
        assert_eq!(mode(&restarting("&control prefix='a' /").unwrap()).as_deref(), Some("restart"));
    }

    #[test]
    fn a_mode_is_replaced_in_its_place() {
        let text = "&control\n restart_mode=\"from_scratch\", prefix='a' ! restart_mode = 'x'\n/\nCARD restart_mode='y'\n";
        let expected =
            "&control\n restart_mode='restart', prefix='a' ! restart_mode = 'x'\n/\nCARD restart_mode='y'\n";
        assert_eq!(restarting(text).as_deref(), Some(expected));
        assert_eq!(restarting(expected).as_deref(), Some(expected), "a second time changes nothing");
    }

    #[test]
    fn an_input_without_control_is_left_alone() {
        assert_eq!(restarting("&system\n/\n"), None);
    }

    #[test]
    fn a_hostile_input_is_edited_in_one_pass() {
        let many = format!("&control\n{}/\n", "restart_mode='x',\n".repeat(100_000));
        assert_eq!(restarting(&many).unwrap().matches("'restart'").count(), 100_000);
    }

    proptest! {
        #[test]
        fn whatever_is_edited_restarts(body in "[a-c=!'\", \n(]{0,60}") {
            let edited = restarting(&format!("&control {body}")).unwrap();
            prop_assert!(mode(&edited).as_deref() == Some("restart"), "{}", edited);
        }
    }
}
