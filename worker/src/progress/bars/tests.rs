use proptest::prelude::*;

use super::*;

fn bar(name: &str, done: u64, total: Option<u64>) -> Bar {
    Bar { name: name.to_owned(), done, total, ..Bar::default() }
}

#[test]
fn the_bars_of_tqdm_are_recognised() {
    let known = [
        (" 45%|████▌     | 45/100 [00:10<00:12,  4.4it/s]", bar("", 45, Some(100))),
        ("  0%|          | 0/100 [00:00<?, ?it/s]", bar("", 0, Some(100))),
        ("training: 100%|██████████| 7/7 [1:02:10<00:00, 1.5s/it]", bar("training", 7, Some(7))),
        ("a: b|c:  50%|#####     | 5/10 [00:01<00:01,  5.00it/s]", bar("a: b|c", 5, Some(10))),
        (" 12%|█▏        | 1.20k/10.0k [00:00<00:01, 8.00kit/s]", bar("", 1_200, Some(10_000))),
        (
            "get:  10%|█         | 1.05M/10.5M [00:01<00:09, 1.05MB/s]",
            bar("get", 1_050_000, Some(10_500_000)),
        ),
        ("45it [00:10,  4.40it/s]", bar("", 45, None)),
        ("rows: 0it [00:00, ?it/s]", bar("rows", 0, None)),
        ("1.05MB [00:01, 1.05MB/s]", bar("", 1_050_000, None)),
        ("12Epochs [00:10,  1.20Epochs/s]", bar("", 12, None)),
    ];
    for (line, expected) in known {
        assert_eq!(read(line), Some(expected), "{line}");
    }
}

#[test]
fn colours_and_cursor_movements_do_not_hide_a_bar() {
    let line =
        "\u{1b}[31minner:  40%\u{1b}[0m|\u{1b}[32m████      \u{1b}[0m| 2/5 [00:00<00:00, 9.0it/s]\u{1b}[A";
    assert_eq!(read(line), Some(Bar { nested: true, ..bar("inner", 2, Some(5)) }));
}

#[test]
fn the_numbers_of_a_postfix_are_metrics() {
    let line = "  1%|          | 1/100 [00:10<00:12,  4.4it/s, loss=0.25, lr=1e-3, best=nan, at=home]";
    assert_eq!(read(line).unwrap().metrics, [("loss".to_owned(), 0.25), ("lr".to_owned(), 0.001)].into());
}

#[test]
fn other_lines_are_no_bars() {
    let others = [
        "",
        "45/100",
        "45%",
        " 45%|███| 45/100",
        "| 45/100 [00:10<00:12, 4.4it/s]",
        " x%|███| 45/100 [00:10<00:12, 4.4it/s]",
        " 45%|███| -45/100 [00:10<00:12, 4.4it/s]",
        " 45%|███| 1e5/100 [00:10<00:12, 4.4it/s]",
        " 45%|███| nan/inf [00:10<00:12, 4.4it/s]",
        " 45%|███| 99999999999999999999/100 [00:10<00:12, 4.4it/s]",
        "WARNING 5it [now, 3it/s]",
        "read 5 files [00:10, 3it/s]",
        "step [1/5], loss [0.5]",
        "[1/5] n=8 dofs=81 t=0.024s",
        "INFO:root:running build_ext",
    ];
    for line in others {
        assert_eq!(read(line), None, "{line}");
    }
    assert_eq!(read(&format!("{} 45%|█| 45/100 [00:10<00:12, 4.4it/s]", "x".repeat(20_000))), None);
}

proptest! {
    #[test]
    fn no_line_makes_it_panic(text in "[ 0-9a-zé%|/:<>,=.\\[\\]\u{1b}█]{0,120}") {
        let _bar = read(&text);
        let _bar = read(&format!("{text} 45%|{text}| {text}/100 [00:10<00:12, {text}it/s]"));
    }

    #[test]
    fn what_tqdm_prints_is_read_back(done in 0u64..1_000_000, total in 1u64..1_000_000, name in "[a-z]{0,8}") {
        let percent = (done * 100 / total).min(999);
        let desc = if name.is_empty() { String::new() } else { format!("{name}: ") };
        let line = format!("{desc}{percent:3}%|██        | {done}/{total} [00:10<00:12,  4.40it/s]");
        prop_assert_eq!(read(&line), Some(bar(&name, done, Some(total))));
    }
}
