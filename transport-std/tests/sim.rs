use edgempi::sim::{Class, Simulation};
use edgempi::Sum;

#[test]
fn it_runs() {
    let outcome = Simulation::exactly(1)
        .ranks(3, Class::server())
        .ranks(2, Class::board().loss(0.1))
        .trace(|entry| println!("{entry}"))
        .run(|rank| async move {
            rank.round(1);
            let sum = rank.allreduce(vec![1.0f32; 1000], Sum).await?;
            Ok(sum[0])
        })
        .unwrap();
    println!("{}", outcome.report);
    println!("{:?} {:?}", outcome.results, outcome.trace);
}
