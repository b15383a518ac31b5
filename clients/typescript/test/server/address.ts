/** Where the Triton of the tests is: it serves clients/conformance/repository. */

const address = process.env.TRITONPACK_TEST_SERVER;
if (!address) {
  throw new Error("TRITONPACK_TEST_SERVER must be host:port of a server; scripts/with_server.py starts one");
}

export const SERVER: string = address;
