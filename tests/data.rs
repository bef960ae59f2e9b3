use crate::program::Program;

/// Writes a data set of two labelled training images of 1x2 and one test image to directory `own`.
fn write_set(program: &Program) {
    fs_err::create_dir(program.path("own")).expect("writable");
    let header = |n_dims, n| vec![0, 0, 8, n_dims, 0, 0, 0, n];
    let images = |n: u8| [header(3, n), vec![0, 0, 0, 1, 0, 0, 0, 2], vec![9; 2 * usize::from(n)]].concat();
    for (name, bytes) in [
        ("train-images-idx3-ubyte", images(2)),
        ("train-labels-idx1-ubyte", [header(1, 2), vec![0, 3]].concat()),
        ("t10k-images-idx3-ubyte", images(1)),
        ("t10k-labels-idx1-ubyte", [header(1, 1), vec![1]].concat()),
    ] {
        fs_err::write(program.path("own").join(name), bytes).expect("writable");
    }
}

#[test]
fn data_describes_a_set() {
    let program = Program::new();
    let movies = program.succeed("data movies");
    assert!(movies.contains("movies: 6 to train on, 6 to test") && movies.contains("1 x 1 x 6"), "{movies}");
    write_set(&program);
    let own = program.succeed("data own");
    assert!(own.contains("own: 2 to train on, 1 to test") && own.contains("1 x 1 x 2") && own.contains('4'), "{own}");
    let frames = program.succeed("data env:minatar/breakout");
    assert!(frames.contains("4 x 10 x 10"), "{frames}");
    let single = program.succeed("data env:breakout");
    assert!(single.contains("1 x 84 x 84"), "a fit takes single frames: {single}");
}

#[test]
fn a_damaged_copy_is_refused() {
    let program = Program::new();
    write_set(&program);
    let error = program.fail("data mnist --data-dir own");
    assert!(error.contains("own/train-images-idx3-ubyte is damaged or another file"), "{error}");
    let path = program.path("own/t10k-images-idx3-ubyte");
    fs_err::write(&path, &fs_err::read(&path).expect("readable")[..17]).expect("writable");
    let error = program.fail("data own");
    assert!(error.contains("t10k-images-idx3-ubyte: cut short: sizes [1, 1, 2] make 18 bytes, found 17"), "{error}");
}

#[test]
fn errors_about_unknown_sets_name_the_nearest() {
    let program = Program::new();
    for (line, words) in [
        ("data mnits", ["`mnits`", "`mnist`"]),
        ("data env:minatar/breakot", ["`minatar/breakot`", "`minatar/breakout`"]),
        ("data breakout", ["did you mean", "`env:breakout`"]),
        ("data env:taxi", ["one of 500 states", "planes or pixels"]),
        ("data movies --data-dir .", ["--data-dir .", "movies"]),
        ("data no/such", ["folder `no/such`", "env:ID"]),
    ] {
        let error = program.fail(line);
        assert!(words.iter().all(|word| error.contains(word)), "carom {line}: {error}");
    }
}
