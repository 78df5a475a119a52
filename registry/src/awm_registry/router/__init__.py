"""The router: what agents, trainers and operators talk to. Finds, wakes and asks the instances of a fleet."""
