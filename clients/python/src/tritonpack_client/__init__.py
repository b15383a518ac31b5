"""A typed gRPC client for models that tritonpack serves."""
