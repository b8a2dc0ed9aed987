//! `run hello-world`: needs no network.

use crate::empty;

#[test]
fn the_first_command_of_every_tutorial_works() {
    let coracle = empty();
    let outcome = coracle.run(["run", "hello-world"]);
    assert!(
        outcome
            .stderr
            .contains("Unable to find image 'hello-world:latest' locally"),
        "{}",
        outcome.stderr
    );
    assert!(outcome.ok().contains("Hello from Coracle!"));
    let again = coracle.run(["run", "--rm", "hello-world"]);
    assert_eq!(again.stderr, "");
    assert!(again.ok().contains("Hello from Coracle!"));
    let images = coracle
        .run(["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"])
        .ok();
    assert_eq!(images, "hello-world:latest\n");
}
