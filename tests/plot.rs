use crate::program::Program;

/// Returns the texts of an SVG, in order.
fn texts(svg: &str) -> Vec<&str> {
    let bodies = svg.split("<text ").skip(1).map(|rest| rest.split_once('>').expect("a tag").1);
    bodies.map(|body| body.split_once("</text>").expect("a closing tag").0.trim()).collect()
}

#[test]
fn several_metrics_have_a_panel_each_with_one_title_and_one_legend() {
    let program = Program::new();
    let taxi = "train --env taxi --agent q-learning --steps 4k";
    program.succeed(&format!("{taxi} --set eval_every=1k --set eval_episodes=2 --out slow"));
    program.succeed(&format!("{taxi} --set agent.lr=0.5 --out fast"));
    let line = "plot slow fast --metric train/return,train/length,eval/return -o all.svg";
    let output = program.run(line);
    assert!(output.status.success());
    let notes = String::from_utf8(output.stderr).expect("UTF-8");
    assert_eq!(notes, "note: fast has no eval/return yet and is left out\n");
    let svg = program.read("all.svg");
    let texts = texts(&svg);
    let count = |wanted: &str| texts.iter().filter(|text| **text == wanted).count();
    assert_eq!((count("q-learning on taxi"), count("environment steps")), (1, 3), "{texts:?}");
    assert_eq!((count("q-learning lr=0.5"), count("evaluation return, mean of the episodes")), (1, 1), "{texts:?}");
    // The run without evaluations has the second colour, in the panels that it is in.
    assert!(svg.contains("height=\"1") && svg.matches("#D55E00").count() >= 3, "colours");
}

#[test]
fn a_figure_is_a_png_by_its_name() {
    let program = Program::new();
    program.succeed("train --env gridworld --agent q-learning --steps 4k --out run");
    assert_eq!(program.succeed("plot run -o curve.PNG"), "curve.PNG\n");
    program.succeed("table run --output table.png");
    for name in ["curve.PNG", "table.png"] {
        let bytes = fs_err::read(program.path(name)).expect("a picture");
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        let info = reader.next_frame(&mut pixels).expect("pixels");
        assert!(info.width >= 400 && info.height >= 200, "{name}: {} x {}", info.width, info.height);
        // Text and lines on white.
        assert!(pixels.contains(&255) && pixels.iter().any(|&value| value < 60), "{name} is blank");
        let marks = &reader.info().uncompressed_latin1_text;
        assert!(marks.iter().any(|mark| mark.text == "Carom"), "{name} has no mark");
    }
    program.refuses("plot run -o curve.gif", &["SVG or PNG", ".png"]);
}
