//! From bytes to xorb and file hash: vectors made with the deployed client.

use crate::inputs::{hash, splitmix, xorshift};
use xetway_core::Hash;
use xetway_core::chunker::chunks;
use xetway_core::hash::{chunk_hash, verification_hash};
use xetway_core::merkle::{self, Node};

fn nodes(data: &[u8]) -> Vec<Node> {
    chunks(data)
        .map(|chunk| (chunk_hash(chunk), chunk.len() as u64))
        .collect()
}

#[test]
fn xorb_and_file_hashes() {
    let cases: [(Vec<u8>, usize, &str, &str); 20] = [
        (
            Vec::new(),
            0,
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000000",
        ),
        (
            b"Hello World!".to_vec(),
            1,
            "d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb",
            "a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165",
        ),
        (
            b"hello world".to_vec(),
            1,
            "4e39378b9d359f118190557a1f44130219a54e5fcfa07bd96cf50b466fe651b1",
            "f15edd43b7e85cfd25e2758ffe13b99fdd09dfa817e8d9f6548722a7a126db7f",
        ),
        (
            vec![0],
            1,
            "df93298cdbf67cd507aed28d6290c0cf7f9aa0aa88dfa629cffcf98680659410",
            "41f5539a8d8bdd7509fd9a319268aca47ea6d40b33394170182e09fa86345c7e",
        ),
        (
            vec![0; 8_191],
            1,
            "461b3d677f5a6e106501096980089da139bbf22ab66ca36345727adcb5e8ad84",
            "80c25c0cf8afd7a10eabd09184c813addb4328bd727089be2b62a77028848772",
        ),
        (
            vec![0; 8_192],
            1,
            "d88a3b08a2ac3c73417e59b165220ff5a1975c3d4e2a84b003c40cb7f392c443",
            "711574865581cce65f5d06a1818a37a1dd4cfe3f65e3f4aaae2b1bacbfc253db",
        ),
        (
            vec![0; 131_072],
            1,
            "2e39f13c248013b27e22913ba2893a654120ed0ad8eb7ecbf3f05b9d708634fc",
            "7a7c18448d7ae35cc61c072281981c565fedb8a079b42c6ef4a0c846bb78c50d",
        ),
        (
            vec![0; 131_073],
            2,
            "33774e8810e1614d58259f9399274b3759c85eca0c1f5cc125d285b2b860b924",
            "83f8f48adc7310b5748295b256ca24cdce2aac457679c98526e3a19e0388f58a",
        ),
        (
            vec![0x3b; 1_000_000],
            8,
            "a6b5a7f0bb38b6fd5fb39031eb7564e18ea0e7a0b7bea87de54ed1db8bc85884",
            "53f845640fcd1c7440befff65bd93434c83a30c6559a705597d61f2ef64e2f88",
        ),
        (
            (0..204_800).map(|index| index as u8).collect(),
            2,
            "9222c4f19aaff34f1e5b858db870d64e9e715ed1be638f0c5f4e55e2467d3ee4",
            "5455aae9372868a7118db6efa7ae66eb1aa996c0a3229fed82dd5e3fa34bafc0",
        ),
        (
            splitmix(0, 63),
            1,
            "ab6fd92066fe085e96f499ab39918b07d18ab8f30d5951b30d1432b08d2ec6af",
            "43a6a50d88dcccf1c29fd10217b28f8734d59793458775968a68d8b8ce55b3be",
        ),
        (
            splitmix(0, 8_191),
            1,
            "1f431d55d45ea0432b2e38f6f77d62ee5cadf015c9324ecb361996bf6ad38c6e",
            "a2f0205f90bccc38d465dac03f8f4030d22374a1d4049d4cb54a7f5425ba9eee",
        ),
        (
            splitmix(0, 8_193),
            1,
            "14e6f743e4574de87feb69e30af81c2eea31b510bb4951f04fa30b97b42ef98c",
            "bb615047e38a1394afc61abe29100766c6fdc6212a0d5a5ba087e1f61a399232",
        ),
        (
            splitmix(0, 100_000),
            2,
            "b67419f306640920157528a078e52d1378a41c8e91808b0a874d0ba0bbc71d58",
            "97412bd05a080104deaccbdb5758e1246d4f75a6711b8c77cec3516c0fb3446c",
        ),
        (
            splitmix(0, 1_000_000),
            19,
            "6f2ce16ca5e317f0100ff0e7e5bf40a0de9032e9ee1ad04b6b8ff4e36cdfbf6c",
            "3d17b2d7d64a0e011b6717a52d9a16bd2c3f05b743fa8adf52a7d75dafab6d89",
        ),
        (
            splitmix(1, 256_000),
            4,
            "335db8e272cac859dec35783bbc12c7f433bbcea50528d154cb07bf36888a51f",
            "116cd39641ee392863a30c2a5bd6ab04676177a75604729bb98cfc4052fc3131",
        ),
        (
            splitmix(1, 1_048_576),
            13,
            "5cb5e57306221297df4b92f4971739adf124cf6f7b505942a51b366d5d2ac29a",
            "338c17cd809a4a92149cdc23e73d1e6da56fdb03f12bfb671575a3c4488bf6f0",
        ),
        (
            splitmix(2, 1_048_576),
            18,
            "8eb9303a6f4175f6704593853c046ecf1901a8a50cd59bde0ecc10d68860900c",
            "f2e43c3cb0eecce50bcb77fd2900943e1aa6a464c7964a33ac9fe2ed0b87f412",
        ),
        (
            splitmix(42, 3_000_000),
            46,
            "18b34eb9eece1dcc6ac3410798983e30059e29f83c4d6d2a7543cea2f0c6a9ee",
            "7f9b09fee0dd8a8b29971fecd1af07f76904e6a1f8910d0dfcc7ae883e216d4c",
        ),
        (
            xorshift(3_145_728),
            52,
            "6299b0a1b08caa813a3730d494648726f4b3fb85dd3b072f28ad031d6f408636",
            "27d7a6d9c85ba8153b9929089573df0b9b8c85d1398cff4d25862f2817f78974",
        ),
    ];
    for (data, count, xorb, file) in cases {
        let nodes = nodes(&data);
        assert_eq!(nodes.len(), count);
        assert_eq!(merkle::root(&nodes), hash(xorb));
        assert_eq!(merkle::file_hash(&nodes), hash(file));
    }
}

#[test]
fn chunk_hashes() {
    let wanted: [(u64, &str); 19] = [
        (
            84493,
            "6eca1e7dadaf08cca5d82d318c800f07c2ddcec115a7e8627e5edd9605b94b8d",
        ),
        (
            49928,
            "624ea34d72a06e5d43a1b8dd10763f0d22f165992c397ed97563899b27fdd88a",
        ),
        (
            10432,
            "4411d2ec847c6e3f451a7451ff3933adb4f1c31587421b9f730b698a78313b47",
        ),
        (
            98465,
            "6342bde97433e29e0779ad33eb8040d986679040361b3cc3a06230fe60dd6c9b",
        ),
        (
            28475,
            "405253fcf15bba751adc4f507d3453273daff81ed4d8acd71c521aa1cbddc0b5",
        ),
        (
            64664,
            "4482374af7f8bebfdb5c5df0299f80128d6c58886ad7b218c562b1d74064e4cb",
        ),
        (
            131072,
            "80acc8d39c853b4b8a8c6ad7b63bf2ea68f62c2226b92f06349f92cc84d213cc",
        ),
        (
            27052,
            "a7076d7d343f711fb20fe6cd023248d8d051e8fe7d44172596cd5c7ea7edaf65",
        ),
        (
            87419,
            "44755217bbb4dadc81ea7695765230a34a2e6cb3b55f373f1de35aeba79ae92c",
        ),
        (
            14735,
            "001adc1d302d5f039278325dcbd5ec3b194f4794f1629d6f962f9f4bb78a7bff",
        ),
        (
            20080,
            "f8460a337c186f07c2e225bb287a1d3d3d686dc69d0828e99640f7d8852c5b90",
        ),
        (
            36349,
            "c9bc3da29025dc1ba562d303d815151d9a937367abb766ae842a165e8493d9fe",
        ),
        (
            25038,
            "5044339dfd65e8163bdfe642614a6be604b04d6aeacf222cf219ad287bfc5cf1",
        ),
        (
            46308,
            "163622db0fe0da93f2ef964eed4c485f3c7a9c312f8e8e8a312ab4bb8141f13e",
        ),
        (
            91081,
            "e1730534a858aa0258ad8904ef12b829b8a123a1c611250275c9ca9471e4c650",
        ),
        (
            12169,
            "1fbc6854f9185caba1e1f55393f41f83b895b18f9c99245c029025ca48f1e14b",
        ),
        (
            131072,
            "8a27b66ccf05b864b6bef6fb5c970fe894f73d2330e8e98fe7841dcdbd9e9576",
        ),
        (
            32260,
            "bc70a33e7a9ec820cac24b87023469a57bdae1bf91cc3961b95806c64a525221",
        ),
        (8908, "03e5b5f5a088269ec4b329f1e04debfac4cb54b9c0facf038f7e8e0f054be7e2"),
    ];
    let nodes = nodes(&splitmix(0, 1_000_000));
    assert_eq!(nodes, wanted.map(|(bytes, text)| (hash(text), bytes)));
    let hashes: Vec<Hash> = nodes.iter().map(|node| node.0).collect();
    let verification = "6daf15a7ed258b91f607e8f5e6723a8564292d12c8104c156f7bad9c255a0180";
    assert_eq!(verification_hash(&hashes), hash(verification));
}

/// Small files of one session share a xorb: "Hello World!" first, then 19 chunks of another file.
#[test]
fn xorb_of_two_files() {
    let mut all = nodes(b"Hello World!");
    all.extend(nodes(&splitmix(0, 1_000_000)));
    let xorb = "db40232488f2875b15f6c3cfe402cc36cdafddbb86c785b67234c3bf797b3669";
    assert_eq!(merkle::root(&all), hash(xorb));
}
