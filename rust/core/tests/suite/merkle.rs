//! Merkle roots and file hashes of lists of known nodes, and a naive reading of the draft.

use crate::inputs::{hash, hex, splitmix, unhex};
use proptest::prelude::*;
use xetway_core::Hash;
use xetway_core::hash::chunk_hash;
use xetway_core::merkle::{self, MerkleHasher, Node};

const ZERO: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// Hashes of the nodes; node `i` has the size `100 * i`.
const ATOMS: [&str; 8] = [
    ZERO,
    "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
    "c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72",
    "0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37",
    "adf8773496a9b7319b2e50dc98093f344053b17d8ad37100b9c07d9805988784",
    "4ac202caf347fc1e9c874b1ef6a1c5e619141eb775a6f43f0f0124ccd0060d9e",
    "b3b28636f65c149ea52eb1f94669466f70f033b54cea792824c696ba6ef3c389",
    "0e2c1a002aae913d2c0fc8ddfa4e9e14b7b311b3b0d458726d5d9f6a6318013c",
];

fn nodes(list: &[usize]) -> Vec<Node> {
    list.iter()
        .map(|index| (hash(ATOMS[*index]), 100 * *index as u64))
        .collect()
}

#[test]
fn reference_lists() {
    let cases: [(&[usize], &str, &str); 17] = [
        (&[], ZERO, ZERO),
        (
            &[0],
            ZERO,
            "638a6bc391964a85939d48f008e8bdbae6a7975e7ca2d87a3ce2492f4e4d8a4c",
        ),
        (
            &[1],
            ATOMS[1],
            "8e16257caa3fe079d484d872a8975264b2ff683b0d6db9028cc7c0f968a45661",
        ),
        (
            &[1, 2, 3],
            "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc",
            "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715",
        ),
        (
            &[1, 1, 1, 1],
            "89f2ada89ff8c96763c6b25010e6dd76a4c05b1466207633ea559acf2093211b",
            "2cdba690d0e09563596e0cda626d43eb4c96ef1e994fe72d9b2f5a83cfcd36dd",
        ),
        (
            &[1, 2, 1, 2],
            "90f8313ef12df385d237a067aded02562c35ded12116e32eba401dbc86c38031",
            "284ea045e5a579e99c21ec597c20de1fc0c09e7168162aac00db8f61b3d82dbb",
        ),
        (
            &[1, 2, 1, 2, 3, 4],
            "52c826f99507aa05d0b45e9837fa1709e0485425cfbcb1e80db3905cf98b3ee9",
            "91d21684db364c8883ab8209fa5eb2e781cf07f37e1fa43e731c30839afe422f",
        ),
        (
            &[0, 1, 0, 1],
            "e1755c85be07fd6b7a8d7becc85e6d8c5f507f2a3d38b316bcb6f97855e72188",
            "207caf24fce045ac6d873b4c6186a5a435d600d103e1ae345e55ddf1f4b7f7ef",
        ),
        (
            &[0, 1, 0, 1, 0],
            "f36c6a6374a567efd36ed087aeb680b57e3af4e0b5b8e7be2593df4cb647a2de",
            "ab2f46d31855e1133b3b5b70e78f841394a648710a208923b221c1a8a0572a1f",
        ),
        (
            &[1, 0],
            "e8660f81494ca836a58e395c1395ef97870ed71e2b113eec1fab6b3361f46dd6",
            "274d92f7e2acebaa2b8d63c0b5e7a4fc15814a606e3e3825d55609e671bcc5d9",
        ),
        (
            &[3, 4, 5, 3],
            "73b9dc802ab03a0855c66823a18d95c2a785af594535756abf405038b6270cb8",
            "c7d5be75ef5ec12888027ad305141e4109e599494477661177475c84e12de48b",
        ),
        (
            &[3, 4, 5, 5, 5],
            "2c1fd1eca47e284512fcb40fcf45a1874939f9b91c774d46aeba5d004d9d263d",
            "0799ba7ee2c3fed173a8e8d832cd13970ddc16070ffbc8aa6dcd77476f66dc73",
        ),
        (
            &[0, 1, 2, 3, 4, 5, 6, 7],
            "f62abe77e3fb9c954fe52b0028027ddc90c064c45951a4fd2211d87e5c0011db",
            "d1b068be5bbdb38992269e8efe61f601881e39f7a7585fd76883cc6ea5c23b44",
        ),
        (
            &std::array::from_fn::<usize, 64, _>(|index| index % 8),
            "6554007c9b5d0a5e7918f79596a1b68815c1407535585435f5735db761f21b88",
            "a8640ab81d48854e00078e12b1ea8be5d90be0ffb5f73a15b7009981d093ddd8",
        ),
        (
            &[1; 32],
            "0a0123c1617921883b7e13902095fcb86676e77c49120c33b233003b0af0e0a6",
            "53af4711fd1d5e5bdc7f931b6be932314d8d673cb16ad2482f6f5222eaf9e63d",
        ),
        (
            &[0, 1, 2, 3, 4, 5, 6, 7, 1, 1, 1, 1],
            "e7fc30b73ec9930593f80fe777b334e9d3bb73e45e6a79fa5784b2603446158b",
            "69e1af2fd6023ce133e0d1b90e32d1d42ef79f5a710f2b0accfc3a735e98de9d",
        ),
        (
            &std::array::from_fn::<usize, 16, _>(|index| index / 2),
            "636c65db520ec16e8166f9ec7a0cf9f74b26369077ac60160ec0221c86bc9f77",
            "6a90ad0d6f5246ac61f1de898c6944c03e14004a1368e6fb23387108c4d039e0",
        ),
    ];
    for (list, root, file) in cases {
        assert_eq!(merkle::root(&nodes(list)), hash(root), "{list:?}");
        assert_eq!(merkle::file_hash(&nodes(list)), hash(file), "{list:?}");
    }
}

#[test]
fn salted_file_hashes() {
    for (list, salt, wanted) in [
        (
            &[1][..],
            "285371a6a3c8c4e561469c97766c46f0b9799bd8ea51a4ad27a082df8c28b7da",
            "6c18994ed5e6a223aeff68a6e386dbba7b3c25de076245dc77892b4ad49ac978",
        ),
        (
            &[0, 1, 2, 3, 4, 5, 6, 7],
            "6fb1cc393b130809e39c8073f96d9726364080a345a5af4978ab491e7d25faac",
            "eebe56be63552edcc6da65ff79f79262f83866236dd869f08a900674fc936ad3",
        ),
    ] {
        // The salts are written in the text form of hashes.
        let salt = *hash(salt).as_bytes();
        assert_eq!(merkle::file_hash_with_salt(&nodes(list), &salt), hash(wanted));
    }
    assert_eq!(merkle::file_hash_with_salt(&[], &[1; 32]), Hash::ZERO);
}

#[test]
fn inner_node() {
    let pair = [
        (
            hash("c28f58387a60d4aa200c311cda7c7f77f686614864f5869eadebf765d0a14a69"),
            100,
        ),
        (
            hash("6e4e3263e073ce2c0e78cc770c361e2778db3b054b98ab65e277fc084fa70f22"),
            200,
        ),
    ];
    let root = "be64c7003ccd3cf4357364750e04c9592b3c36705dee76a71590c011766b6c14";
    assert_eq!(merkle::root(&pair), hash(root));
}

/// The draft's pseudo code: whole levels, one after the other.
fn oracle(nodes: &[Node]) -> Hash {
    let mut level = nodes.to_vec();
    while level.len() > 1 {
        let mut next = Vec::new();
        let mut rest = &level[..];
        while !rest.is_empty() {
            let cut = if rest.len() <= 2 {
                rest.len()
            } else {
                let end = rest.len().min(9);
                (2..end)
                    .find(|index| rest[*index].0.last_u64().is_multiple_of(4))
                    .map_or(end, |index| index + 1)
            };
            next.push(merged(&rest[..cut]));
            rest = &rest[cut..];
        }
        level = next;
    }
    level.first().map_or(Hash::ZERO, |node| node.0)
}

fn merged(group: &[Node]) -> Node {
    let lines: Vec<String> = group
        .iter()
        .map(|(hash, bytes)| {
            format!(
                "{hash} : {bytes}
"
            )
        })
        .collect();
    let key = unhex("017ec5c7a5472996fd946666b48a02e65ddd536f37c76dd2f86352e64a53713f");
    let bytes = group.iter().map(|node| node.1).sum();
    (
        Hash::from_bytes(*blake3::keyed_hash(&key.try_into().unwrap(), lines.concat().as_bytes()).as_bytes()),
        bytes,
    )
}

#[test]
fn oracle_agrees_for_every_small_count() {
    let all: Vec<Node> = (0..300_u64)
        .map(|n| (chunk_hash(&n.to_le_bytes()), n * 0x1_0000_0001))
        .collect();
    for count in 0..all.len() {
        assert_eq!(merkle::root(&all[..count]), oracle(&all[..count]), "{count} nodes");
    }
}

/// Every node ends a group, or none does.
#[test]
fn oracle_agrees_for_degenerate_hashes() {
    for last in [0_u8, 1, 4] {
        let mut bytes = [0x5a; 32];
        bytes[24] = last;
        for count in 0..200 {
            let nodes = vec![(Hash::from_bytes(bytes), 7); count];
            assert_eq!(merkle::root(&nodes), oracle(&nodes), "{count} nodes ending in {last}");
        }
    }
}

#[test]
fn sizes_saturate() {
    let nodes = vec![(hash(ATOMS[1]), u64::MAX); 30];
    assert_ne!(merkle::root(&nodes), Hash::ZERO);
}

#[test]
fn a_copy_of_the_hasher_gives_the_root_so_far() {
    let mut hasher = MerkleHasher::new();
    let all = nodes(&[1, 2, 3, 4, 5, 6, 7, 1, 2, 3]);
    for (count, (hash, bytes)) in all.iter().enumerate() {
        assert_eq!(hasher.clone().root(), oracle(&all[..count]));
        hasher.push(*hash, *bytes);
    }
    assert_eq!(
        hex(hasher.file_hash().as_bytes()),
        hex(merkle::file_hash(&all).as_bytes())
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn oracle_agrees(seed: u64, count in 0_usize..3000, few_cuts: bool) {
        let raw = splitmix(seed, count * 32);
        let nodes: Vec<Node> = raw
            .chunks_exact(32)
            .map(|bytes| {
                let mut bytes: [u8; 32] = bytes.try_into().unwrap();
                bytes[24] |= u8::from(few_cuts);
                (Hash::from_bytes(bytes), u64::from(bytes[0]) + 1)
            })
            .collect();
        prop_assert_eq!(merkle::root(&nodes), oracle(&nodes));
    }
}
