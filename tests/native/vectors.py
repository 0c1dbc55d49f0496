"""Test vectors made by `hf_xet` 1.8.0 and the oracle: (name, content, number of chunks, ends, xorb hash, file hash)."""

from tests.native.oracle import sm


def xorshift(size):
    """xorshift32, low byte after each step: content in which a boundary candidate lies before the minimum."""
    x, out = 0x9E3779B9, bytearray()
    for _ in range(size):
        x = (x ^ x << 13) & 0xFFFFFFFF
        x ^= x >> 17
        x = (x ^ x << 5) & 0xFFFFFFFF
        out.append(x & 255)
    return bytes(out)


CONTENT = [
    (
        "empty",
        lambda: b"",
        0,
        [],
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000000",
    ),
    (
        "Hello World",
        lambda: b"Hello World!",
        1,
        [12],
        "d8d408e608fb9ca213b9909a65d86d725f2de4d8d540324be8a363e7a6e228cb",
        "a9dae0ad88b060bdd7e7c87abdcf95b132c95a0414b06d4f6beb68d287b87165",
    ),
    (
        "hello world",
        lambda: b"hello world",
        1,
        [11],
        "4e39378b9d359f118190557a1f44130219a54e5fcfa07bd96cf50b466fe651b1",
        "f15edd43b7e85cfd25e2758ffe13b99fdd09dfa817e8d9f6548722a7a126db7f",
    ),
    (
        "one 0x00",
        lambda: bytes(1),
        1,
        [1],
        "df93298cdbf67cd507aed28d6290c0cf7f9aa0aa88dfa629cffcf98680659410",
        "41f5539a8d8bdd7509fd9a319268aca47ea6d40b33394170182e09fa86345c7e",
    ),
    (
        "8191 x 00",
        lambda: bytes(8_191),
        1,
        [8_191],
        "461b3d677f5a6e106501096980089da139bbf22ab66ca36345727adcb5e8ad84",
        "80c25c0cf8afd7a10eabd09184c813addb4328bd727089be2b62a77028848772",
    ),
    (
        "8192 x 00",
        lambda: bytes(8_192),
        1,
        [8_192],
        "d88a3b08a2ac3c73417e59b165220ff5a1975c3d4e2a84b003c40cb7f392c443",
        "711574865581cce65f5d06a1818a37a1dd4cfe3f65e3f4aaae2b1bacbfc253db",
    ),
    (
        "131072 x 00",
        lambda: bytes(131_072),
        1,
        [131_072],
        "2e39f13c248013b27e22913ba2893a654120ed0ad8eb7ecbf3f05b9d708634fc",
        "7a7c18448d7ae35cc61c072281981c565fedb8a079b42c6ef4a0c846bb78c50d",
    ),
    (
        "131073 x 00",
        lambda: bytes(131_073),
        2,
        [131_072, 131_073],
        "33774e8810e1614d58259f9399274b3759c85eca0c1f5cc125d285b2b860b924",
        "83f8f48adc7310b5748295b256ca24cdce2aac457679c98526e3a19e0388f58a",
    ),
    (
        "1 000 000 x 0x3b 59",
        lambda: b"\x3b" * 1_000_000,
        8,
        [131_072, 262_144, 393_216, 524_288, 655_360, 786_432, 917_504, 1_000_000],
        "a6b5a7f0bb38b6fd5fb39031eb7564e18ea0e7a0b7bea87de54ed1db8bc85884",
        "53f845640fcd1c7440befff65bd93434c83a30c6559a705597d61f2ef64e2f88",
    ),
    (
        "i mod 256 x 204800",
        lambda: bytes(range(256)) * 800,
        2,
        [131_072, 204_800],
        "9222c4f19aaff34f1e5b858db870d64e9e715ed1be638f0c5f4e55e2467d3ee4",
        "5455aae9372868a7118db6efa7ae66eb1aa996c0a3229fed82dd5e3fa34bafc0",
    ),
    (
        "sm 0 63",
        lambda: sm(0, 63),
        1,
        [63],
        "ab6fd92066fe085e96f499ab39918b07d18ab8f30d5951b30d1432b08d2ec6af",
        "43a6a50d88dcccf1c29fd10217b28f8734d59793458775968a68d8b8ce55b3be",
    ),
    (
        "sm 0 8191",
        lambda: sm(0, 8_191),
        1,
        [8_191],
        "1f431d55d45ea0432b2e38f6f77d62ee5cadf015c9324ecb361996bf6ad38c6e",
        "a2f0205f90bccc38d465dac03f8f4030d22374a1d4049d4cb54a7f5425ba9eee",
    ),
    (
        "sm 0 8193",
        lambda: sm(0, 8_193),
        1,
        [8_193],
        "14e6f743e4574de87feb69e30af81c2eea31b510bb4951f04fa30b97b42ef98c",
        "bb615047e38a1394afc61abe29100766c6fdc6212a0d5a5ba087e1f61a399232",
    ),
    (
        "sm 0 100000",
        lambda: sm(0, 100_000),
        2,
        [84_493, 100_000],
        "b67419f306640920157528a078e52d1378a41c8e91808b0a874d0ba0bbc71d58",
        "97412bd05a080104deaccbdb5758e1246d4f75a6711b8c77cec3516c0fb3446c",
    ),
    (
        "sm 0 1000000",
        lambda: sm(0, 1_000_000),
        19,
        [
            84_493,
            134_421,
            144_853,
            243_318,
            271_793,
            336_457,
            467_529,
            494_581,
            582_000,
            596_735,
            616_815,
            653_164,
            678_202,
            724_510,
            815_591,
            827_760,
            958_832,
            991_092,
            1_000_000,
        ],
        "6f2ce16ca5e317f0100ff0e7e5bf40a0de9032e9ee1ad04b6b8ff4e36cdfbf6c",
        "3d17b2d7d64a0e011b6717a52d9a16bd2c3f05b743fa8adf52a7d75dafab6d89",
    ),
    (
        "sm 1 256000",
        lambda: sm(1, 256_000),
        4,
        [25_125, 104_497, 235_569, 256_000],
        "335db8e272cac859dec35783bbc12c7f433bbcea50528d154cb07bf36888a51f",
        "116cd39641ee392863a30c2a5bd6ab04676177a75604729bb98cfc4052fc3131",
    ),
    (
        "sm 1 1048576",
        lambda: sm(1, 1_048_576),
        13,
        None,
        "5cb5e57306221297df4b92f4971739adf124cf6f7b505942a51b366d5d2ac29a",
        "338c17cd809a4a92149cdc23e73d1e6da56fdb03f12bfb671575a3c4488bf6f0",
    ),
    (
        "sm 2 1048576",
        lambda: sm(2, 1_048_576),
        18,
        None,
        "8eb9303a6f4175f6704593853c046ecf1901a8a50cd59bde0ecc10d68860900c",
        "f2e43c3cb0eecce50bcb77fd2900943e1aa6a464c7964a33ac9fe2ed0b87f412",
    ),
    (
        "sm 42 3000000",
        lambda: sm(42, 3_000_000),
        46,
        None,
        "18b34eb9eece1dcc6ac3410798983e30059e29f83c4d6d2a7543cea2f0c6a9ee",
        "7f9b09fee0dd8a8b29971fecd1af07f76904e6a1f8910d0dfcc7ae883e216d4c",
    ),
    (
        "xorshift32 3145728",
        lambda: xorshift(3_145_728),
        52,
        None,
        "6299b0a1b08caa813a3730d494648726f4b3fb85dd3b072f28ad031d6f408636",
        "27d7a6d9c85ba8153b9929089573df0b9b8c85d1398cff4d25862f2817f78974",
    ),
]

# Content whose candidates lie around the minimum size: base, zeros, then its own prefix again and again.
STRESS_BASE = bytes.fromhex(
    "9a342a229f4b7ee046ec0cc44fecb27c7f3263b22cb0ae7efaebcdaefc7a230a1465d645c10873699ee4786f88a2c6fb"
    "d3b7fdfca4933f10baa27517aa24cdbbae4cd2aed3af0cad913b0246deb59fe3b69cbd33e26a1832b79d8c0a0817d446"
    "0aea1721dbfe27ec4631bf7409730f651a9fa5dc0faa387d5ca35eeb26283151"
)
STRESS = [
    (0, 236, [8256, 16448, 24640, 32832, 41024, 49216, 57408, 65536]),
    (1, 50, [8320, 16576, 24832, 33088, 41344, 49600, 57856, 65536]),
    (7, 228, [8299, 16534, 24769, 33004, 41239, 49474, 57709, 65536]),
    (64, 0, [8320, 16576, 24832, 33088, 41344, 49600, 57856, 65536]),
    (126, 0, [8192, 16574, 24956, 33338, 41720, 50102, 58484, 65536]),
    (127, 0, [8224, 16639, 25054, 33469, 41884, 50299, 58714, 65536]),
]

# Merkle vectors: atom i has size 100 * i.
ATOMS = [
    "0" * 64,
    "cfc5d07f6f03c29bbf424132963fe08d19a37d5757aaf520bf08119f05cd56d6",
    "c3e67584b5c4fc2a89837ec39e40f2c8a6bb0b2987ac94cd4b31e5fbdd210a72",
    "0d2beb91b9196929a5ddec9f6e306924ddf4a24268e3e59fd8464738d525af37",
    "adf8773496a9b7319b2e50dc98093f344053b17d8ad37100b9c07d9805988784",
    "4ac202caf347fc1e9c874b1ef6a1c5e619141eb775a6f43f0f0124ccd0060d9e",
    "b3b28636f65c149ea52eb1f94669466f70f033b54cea792824c696ba6ef3c389",
    "0e2c1a002aae913d2c0fc8ddfa4e9e14b7b311b3b0d458726d5d9f6a6318013c",
]
MERKLE = [
    ([], "0" * 64, "0" * 64),
    ([0], "0" * 64, "638a6bc391964a85939d48f008e8bdbae6a7975e7ca2d87a3ce2492f4e4d8a4c"),
    ([1], ATOMS[1], "8e16257caa3fe079d484d872a8975264b2ff683b0d6db9028cc7c0f968a45661"),
    (
        [1, 2, 3],
        "71ec1275fca074724e2dd666921b3277c7cee603e4d025bcab2d4050015be2bc",
        "54e55dccc6653c612bdb5576c5d3cb34bb31bc4e100248abccf4c908b3ef7715",
    ),
    (
        [1, 1, 1, 1],
        "89f2ada89ff8c96763c6b25010e6dd76a4c05b1466207633ea559acf2093211b",
        "2cdba690d0e09563596e0cda626d43eb4c96ef1e994fe72d9b2f5a83cfcd36dd",
    ),
    (
        [1, 2, 1, 2],
        "90f8313ef12df385d237a067aded02562c35ded12116e32eba401dbc86c38031",
        "284ea045e5a579e99c21ec597c20de1fc0c09e7168162aac00db8f61b3d82dbb",
    ),
    (
        [1, 2, 1, 2, 3, 4],
        "52c826f99507aa05d0b45e9837fa1709e0485425cfbcb1e80db3905cf98b3ee9",
        "91d21684db364c8883ab8209fa5eb2e781cf07f37e1fa43e731c30839afe422f",
    ),
    (
        [0, 1, 0, 1],
        "e1755c85be07fd6b7a8d7becc85e6d8c5f507f2a3d38b316bcb6f97855e72188",
        "207caf24fce045ac6d873b4c6186a5a435d600d103e1ae345e55ddf1f4b7f7ef",
    ),
    (
        [0, 1, 0, 1, 0],
        "f36c6a6374a567efd36ed087aeb680b57e3af4e0b5b8e7be2593df4cb647a2de",
        "ab2f46d31855e1133b3b5b70e78f841394a648710a208923b221c1a8a0572a1f",
    ),
    (
        [1, 0],
        "e8660f81494ca836a58e395c1395ef97870ed71e2b113eec1fab6b3361f46dd6",
        "274d92f7e2acebaa2b8d63c0b5e7a4fc15814a606e3e3825d55609e671bcc5d9",
    ),
    (
        [3, 4, 5, 3],
        "73b9dc802ab03a0855c66823a18d95c2a785af594535756abf405038b6270cb8",
        "c7d5be75ef5ec12888027ad305141e4109e599494477661177475c84e12de48b",
    ),
    (
        [3, 4, 5, 5, 5],
        "2c1fd1eca47e284512fcb40fcf45a1874939f9b91c774d46aeba5d004d9d263d",
        "0799ba7ee2c3fed173a8e8d832cd13970ddc16070ffbc8aa6dcd77476f66dc73",
    ),
    (
        list(range(8)),
        "f62abe77e3fb9c954fe52b0028027ddc90c064c45951a4fd2211d87e5c0011db",
        "d1b068be5bbdb38992269e8efe61f601881e39f7a7585fd76883cc6ea5c23b44",
    ),
    (
        [i % 8 for i in range(64)],
        "6554007c9b5d0a5e7918f79596a1b68815c1407535585435f5735db761f21b88",
        "a8640ab81d48854e00078e12b1ea8be5d90be0ffb5f73a15b7009981d093ddd8",
    ),
    (
        [1] * 32,
        "0a0123c1617921883b7e13902095fcb86676e77c49120c33b233003b0af0e0a6",
        "53af4711fd1d5e5bdc7f931b6be932314d8d673cb16ad2482f6f5222eaf9e63d",
    ),
    (
        [*range(8), 1, 1, 1, 1],
        "e7fc30b73ec9930593f80fe777b334e9d3bb73e45e6a79fa5784b2603446158b",
        "69e1af2fd6023ce133e0d1b90e32d1d42ef79f5a710f2b0accfc3a735e98de9d",
    ),
    (
        [i // 2 for i in range(16)],
        "636c65db520ec16e8166f9ec7a0cf9f74b26369077ac60160ec0221c86bc9f77",
        "6a90ad0d6f5246ac61f1de898c6944c03e14004a1368e6fb23387108c4d039e0",
    ),
]
