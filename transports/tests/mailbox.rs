//! Mail between nodes that have only a store in common: what arrives, what is refused, and when a link ends.

use std::time::{Duration, SystemTime};

use peerwren_transports::identity::{Authority, NodeId};
use peerwren_transports::mailbox::{Answered, PostOffice, Question};
use peerwren_transports::store::{Created, Objects};

const WORKER: NodeId = NodeId::Worker(3);

fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(test);
}

fn office(objects: &Objects, authority: &Authority, node: NodeId) -> PostOffice {
    let identity = authority.issue(node, SystemTime::now()).unwrap();
    PostOffice::new(objects, identity.signer().unwrap(), SystemTime::now)
}

#[test]
fn messages_arrive_once_in_order_and_leave_nothing() {
    run(async {
        let objects = Objects::memory().at("run");
        let authority = Authority::new(5, SystemTime::now()).unwrap();
        let coordinator = office(&objects, &authority, NodeId::Coordinator);
        let worker = office(&objects, &authority, WORKER);
        assert_eq!(worker.pulse().await.unwrap(), None);
        let epoch = coordinator.open_epoch().await.unwrap();
        assert_eq!(worker.pulse().await.unwrap().unwrap().epoch, epoch);
        let mut sender = worker.sender(NodeId::Coordinator, epoch);
        let mut receiver = coordinator.receiver(WORKER, epoch);
        let messages: Vec<Vec<u8>> = (0..50).map(|n| vec![n; 400_000]).collect();
        sender.send(&messages).await.unwrap();
        // 8 MiB and one more message a letter.
        let letters = objects.list("mail/worker-3/coordinator/").await.unwrap();
        assert_eq!(letters.len(), 3, "{letters:?}");
        for message in &messages {
            assert_eq!(receiver.recv().await.unwrap().as_ref(), Some(message));
        }
        // What waits is not lost when nobody waits for it any more.
        let given_up = tokio::time::timeout(Duration::from_millis(300), receiver.recv());
        assert!(given_up.await.is_err());
        sender.send(&[b"late".to_vec()]).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), Some(b"late".to_vec()));
        sender.finish().await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), None);
        assert_eq!(receiver.recv().await.unwrap(), None);
        tokio::time::sleep(Duration::from_millis(100)).await;
        let left = objects.list("").await.unwrap();
        assert_eq!(left.len(), 1, "the pulse alone is left: {left:?}");
        assert_eq!((worker.stats().put, coordinator.stats().refused), (5, 0));
    });
}

#[test]
fn mail_of_others_is_refused_and_holds_nobody_up() {
    run(async {
        let objects = Objects::memory().at("run");
        let now = SystemTime::now();
        let authority = Authority::new(5, now).unwrap();
        let coordinator = office(&objects, &authority, NodeId::Coordinator);
        let worker = office(&objects, &authority, WORKER);
        let other = office(&objects, &authority, NodeId::Worker(4));
        let before = coordinator.open_epoch().await.unwrap();
        let epoch = coordinator.open_epoch().await.unwrap();
        assert!(epoch > before, "a coordinator that comes back begins anew");
        let path = |epoch, number| format!("mail/worker-3/coordinator/{epoch}/{number}");
        // Letters to copy: of the epoch before, and of another worker.
        let old = [b"old".to_vec()];
        worker
            .sender(NodeId::Coordinator, before)
            .send(&old)
            .await
            .unwrap();
        other
            .sender(NodeId::Coordinator, epoch)
            .send(&old)
            .await
            .unwrap();
        let stale = objects
            .get(&path(before, 0), 1 << 20)
            .await
            .unwrap()
            .unwrap();
        let others = format!("mail/worker-4/coordinator/{epoch}/0");
        let others = objects.get(&others, 1 << 20).await.unwrap().unwrap();
        let mut receiver = coordinator.receiver(WORKER, epoch);
        let mut sender = worker.sender(NodeId::Coordinator, epoch);
        for (number, forged) in [stale, others, b"forged".to_vec(), Vec::new()]
            .into_iter()
            .enumerate()
        {
            // It lies there before the true one is written, which waits until it is taken away.
            let name = path(epoch, number);
            assert_eq!(objects.create(&name, forged).await.unwrap(), Created::New);
            let message = vec![number as u8];
            let messages = [message.clone()];
            let (sent, came) = tokio::join!(sender.send(&messages), receiver.recv());
            sent.unwrap();
            assert_eq!(came.unwrap(), Some(message));
            assert_eq!(coordinator.stats().refused, number as u64 + 1);
        }
        // A letter once read that is put back is nobody's.
        sender.send(&[b"next".to_vec()]).await.unwrap();
        assert_eq!(receiver.recv().await.unwrap(), Some(b"next".to_vec()));
    });
}

#[test]
fn a_link_ends_with_its_coordinator() {
    run(async {
        let objects = Objects::memory().at("run");
        let authority = Authority::new(5, SystemTime::now()).unwrap();
        let coordinator = office(&objects, &authority, NodeId::Coordinator);
        let worker = office(&objects, &authority, WORKER);
        let epoch = coordinator.open_epoch().await.unwrap();
        let mut receiver = worker.receiver(NodeId::Coordinator, epoch);
        // It lives: it says nothing for a while, and nothing is wrong.
        tokio::select! {
            () = coordinator.show_life(epoch) => {}
            came = receiver.recv() => panic!("{came:?}"),
            () = tokio::time::sleep(Duration::from_secs(6)) => {}
        }
        assert_eq!(worker.pulse().await.unwrap().unwrap().beat, 1);
        // Another one is there.
        coordinator.open_epoch().await.unwrap();
        let error = receiver.recv().await.unwrap_err();
        assert!(error.to_string().contains("started again"), "{error}");
        // Nobody else can show signs of life in its name.
        let impostor = Authority::new(5, SystemTime::now()).unwrap();
        office(&objects, &impostor, NodeId::Coordinator)
            .open_epoch()
            .await
            .unwrap();
        assert_eq!(worker.pulse().await.unwrap(), None);
        assert_eq!(worker.stats().refused, 1);
    });
}

#[test]
fn guests_ask_and_are_answered() {
    run(async {
        let objects = Objects::memory().at("run");
        let authority = Authority::new(5, SystemTime::now()).unwrap();
        let coordinator = office(&objects, &authority, NodeId::Coordinator);
        let epoch = coordinator.open_epoch().await.unwrap();
        let guests = [1, 2].map(|key| {
            let hour = Duration::from_secs(3600);
            let identity = authority.issue_guest(SystemTime::now(), hour).unwrap();
            let office = PostOffice::new(&objects, identity.signer().unwrap(), SystemTime::now);
            let message = vec![key as u8];
            (office, Question { key, message })
        });
        objects
            .put("mail/asked/0000000000000007", b"forged".to_vec())
            .await
            .unwrap();
        let wait = Duration::from_secs(30);
        let mut read = Answered::default();
        let serve = async {
            let mut answered = 0;
            while answered < 2 {
                tokio::time::sleep(Duration::from_millis(50)).await;
                for question in coordinator.questions(epoch, &mut read).await.unwrap() {
                    let answer = vec![question.message[0] + 10];
                    coordinator
                        .answer(epoch, question.key, answer)
                        .await
                        .unwrap();
                    answered += 1;
                }
            }
        };
        let [(one, first), (two, second)] = &guests;
        let (one, two, ()) = tokio::join!(
            one.ask(epoch, first, wait),
            two.ask(epoch, second, wait),
            serve
        );
        assert_eq!((one.unwrap(), two.unwrap()), (vec![11], vec![12]));
        assert_eq!(coordinator.stats().refused, 1);
        // A question once read that is put back asks for nobody.
        let asked = Question {
            key: 3,
            message: vec![3],
        };
        let name = "mail/asked/0000000000000003";
        let replay = async {
            let mut letter = None;
            while letter.is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
                letter = objects.get(name, 1 << 20).await.unwrap();
            }
            let mut counts = Vec::new();
            for _ in 0..2 {
                objects.put(name, letter.clone().unwrap()).await.unwrap();
                counts.push(coordinator.questions(epoch, &mut read).await.unwrap().len());
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            counts
        };
        let patience = Duration::from_millis(500);
        let (_, counts) = tokio::join!(guests[0].0.ask(epoch, &asked, patience), replay);
        assert_eq!(counts, [1, 0]);
        assert_eq!(coordinator.stats().refused, 2);
        // A worker is no guest.
        let worker = office(&objects, &authority, WORKER);
        let question = Question {
            key: 9,
            message: vec![9],
        };
        let asked = worker
            .ask(epoch, &question, Duration::from_millis(500))
            .await;
        assert!(asked.is_err(), "nobody answers");
    });
}
