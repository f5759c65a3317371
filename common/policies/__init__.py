"""The base class of policies, their files, and the parts that networks are made of."""
