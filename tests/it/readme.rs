//! The README shows what the command does, and counts what it supports.

use std::path::Path;

use crate::command::skep;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    std::fs::read_to_string(path).expect("the README")
}

/// Every `$ skep ...` on an example, with what stands below it up to the next command.
#[test]
fn transcripts_are_real() {
    let text = readme();
    let mut compared = 0;
    for block in text.split("```console\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        let Some(rest) = block.strip_prefix("$ skep ") else { continue };
        let (line, shown) = rest.split_once('\n').expect("a command and what it prints");
        // Tests run in the folder of their package.
        let here = line.replace("programs/", "../programs/").replace("tests/", "");
        let ran = skep(&words(&here));
        let printed = ran.text().replace("../programs/", "programs/");
        assert_eq!(without_times(&printed), without_times(shown), "skep {line}\n{}", ran.err);
        compared += 1;
    }
    assert_eq!(compared, 5, "the README's transcripts of commands on the examples");
}

#[test]
fn counts_are_real() {
    let text = readme();
    let support = skep(&["inspect", "--support"]).text();
    let mut compared = 0;
    for line in support.lines() {
        // `map types: 5 of 33 implemented`
        let Some((what, count)) = line.split_once(": ") else { continue };
        let Some(count) = count.strip_suffix(" implemented") else { continue };
        let shown = format!("| {what} | {count} |");
        assert!(text.contains(&shown), "the README lacks {shown}");
        compared += 1;
    }
    assert_eq!(compared, 4, "map types, helpers, program types and relocations in\n{support}");
    let all = support.lines().find_map(|line| line.trim().strip_prefix("all "));
    let numbers: Vec<&str> = all
        .expect("a line for all instructions")
        .split(|c: char| !c.is_ascii_digit())
        .filter(|word| !word.is_empty())
        .collect();
    let shown = format!("| forms of instructions | {} of {} |", numbers[2], numbers[1]);
    assert!(text.contains(&shown), "the README lacks {shown}");
}

/// Splits at spaces outside double quotes.
fn words(line: &str) -> Vec<String> {
    line.split('"')
        .enumerate()
        .flat_map(|(index, part)| match index % 2 {
            0 => part.split_whitespace().map(str::to_owned).collect::<Vec<_>>(),
            _ => vec![part.to_owned()],
        })
        .collect()
}

/// Times differ from run to run: the number before ` ns` counts as equal.
fn without_times(text: &str) -> String {
    let lines = text.trim_end().lines().map(|line| match line.split_once(" ns ") {
        Some((before, after)) => {
            let kept = before.trim_end_matches(|c: char| c.is_ascii_digit());
            format!("{kept}N ns {after}")
        }
        None => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}
