"""The environment server of AWM Fleet, and the contract that its clients share."""
