//! Command blocks in the documents are run, so that they cannot rot: those that begin with three backticks and `sh run`, and
//! where there is Python, those with `sh run python`.

use crate::harness::AOSCTL;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    let docs = std::fs::read_dir(root().join("docs"))
        .unwrap()
        .map(|entry| entry.unwrap().path());
    pages.extend(docs.filter(|path| path.extension().is_some_and(|e| e == "md")));
    pages.retain(|page| page.exists());
    pages
}

fn blocks(text: &str, python: bool) -> Vec<String> {
    let mut blocks = Vec::new();
    let mut open: Option<String> = None;
    for line in text.lines() {
        match &mut open {
            Some(block) if line.trim() == "```" => {
                blocks.push(std::mem::take(block));
                open = None;
            }
            Some(block) => {
                block.push_str(line);
                block.push('\n');
            }
            None if line.trim() == "```sh run" || python && line.trim() == "```sh run python" => {
                open = Some(String::new());
            }
            None => {}
        }
    }
    blocks
}

#[test]
fn blocks_are_found_by_their_mark() {
    let text = "a\n```sh run\nx\ny\n```\n```sh\nz\n```\n```sh run python\np\n```\n";
    assert_eq!(blocks(text, false), ["x\ny\n"]);
    assert_eq!(blocks(text, true), ["x\ny\n", "p\n"]);
}

#[test]
fn every_marked_command_block_works() {
    let python = Command::new("python3").arg("--version").output().is_ok();
    if !python {
        println!("skipped: the blocks with Python, there is no python3 here");
    }
    for page in pages() {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(root().join("docs"), place.path().join("docs")).unwrap();
        let tools = Path::new(AOSCTL).parent().unwrap().display().to_string();
        for block in blocks(&std::fs::read_to_string(&page).unwrap(), python) {
            let output = Command::new("sh")
                .args(["-euc", &block])
                .current_dir(place.path())
                .env("PATH", format!("{tools}:/usr/local/bin:/usr/bin:/bin"))
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(
                output.status.success(),
                "{}:\n{block}\n{}\n{said}",
                page.display(),
                output.status
            );
        }
    }
}
