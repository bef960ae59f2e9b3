use crate::program::Program;

/// Returns the elements of a page, without the contents of style and script.
///
/// # Panics
/// When a tag is not closed, a quote is left open, or the text holds a bare `&`.
fn elements(page: &str) -> Vec<String> {
    let (mut open, mut found, mut rest) = (vec![], vec![], page);
    while let Some((text, tail)) = rest.split_once('<') {
        assert!(text.split('&').skip(1).all(|part| part.contains(';')), "a bare & in {text}");
        if let Some(comment) = tail.strip_prefix("!--") {
            rest = comment.split_once("-->").expect("a comment ends").1;
            continue;
        }
        let (tag, tail) = tail.split_once('>').expect("a tag ends");
        rest = tail;
        if tag.starts_with('!') {
            continue;
        }
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "closed in {page:.200}");
            continue;
        }
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag:.200}");
        let name: String = tag.chars().take_while(char::is_ascii_alphanumeric).collect();
        found.push(tag.to_owned());
        if name == "style" || name == "script" {
            rest = rest.split_once(&format!("</{name}>")).expect("its end").1;
        } else if !tag.ends_with('/') {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "not closed: {open:?}");
    found
}

fn runs() -> Program {
    let program = Program::new();
    let taxi = "train --env taxi --agent q-learning --steps 4k --set eval_every=2k --set eval_episodes=2";
    program.succeed(&format!("{taxi} --out runs/slow&<b>"));
    program.succeed(&format!("{taxi} --set agent.lr=0.5 --out runs/fast"));
    program.succeed("resume runs/fast --steps 5k --set agent.lr=0.25");
    program.succeed("fit ae --data movies --epochs 4 --latent-dim 2 --out runs/fit");
    program
}

#[test]
fn a_page_of_two_runs_and_a_fit_holds_all_that_it_shows() {
    let program = runs();
    assert_eq!(program.succeed("report runs/fast runs/slow&<b> runs/fit --max-steps 30"), "runs/report.html\n");
    let page = program.read("runs/report.html");
    let elements = elements(&page);
    assert!(!page.contains("http:") && !page.contains("https:"), "a resource of the network");
    let has = |start: &str, part: &str| elements.iter().any(|tag| tag.starts_with(start) && tag.contains(part));
    assert!(has("meta", "default-src 'none'") && has("meta", "width=device-width"));
    assert!(has("img", "data:image/gif;base64,R0lGOD") && has("img", "data:image/png;base64,iVBOR"));
    for metric in ["train/return", "eval/return_exact", "fit/bce", "test/bce", "steps_per_s"] {
        assert!(page.contains(&format!(">{metric}</option>")), "no {metric}");
    }
    for text in ["slow&amp;&lt;b&gt;", "<td class=\"name\">agent.lr</td>", "0.5", "prefers-color-scheme: dark"] {
        assert!(page.contains(text), "no {text}");
    }
    assert!(page.contains("carom train --env taxi --agent q-learning --steps 4k"), "no command");
    let resumed = "carom resume runs/fast --set &#39;agent.lr=0.25&#39; --steps 5000   # from step 4k";
    assert!(page.contains(resumed), "no {resumed}");
    let data = page.split_once("id=\"data\">").expect("numbers").1.split_once("</script>").expect("an end").0;
    let data: serde_json::Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(data["groups"].as_array().map(Vec::len), Some(3), "{}", data["groups"]);
    let figures = data["figures"].as_array().expect("figures");
    let returns = figures.iter().find(|figure| figure["metric"] == "train/return").expect("returns");
    assert_eq!(returns["lines"].as_array().map(Vec::len), Some(2));
}

#[test]
fn a_page_replaces_no_file_of_somebody_else() {
    let program = runs();
    program.write("runs/report.html", "mine");
    program.refuses("report runs", &["runs/report.html is there, and Carom did not write it"]);
    program.refuses("report runs --out page.htm", &["--out page.htm", ".html"]);
    program.succeed("report runs --out runs/report.html --max-steps 0");
    let page = program.read("runs/report.html");
    assert!(!page.contains("image/gif") && page.contains("3 runs"));
    program.succeed("report runs --max-steps 0");
}
