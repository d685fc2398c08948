"""What every run does first, done when this module is imported: by the server of forks, once for all its runs."""

from jupyter_client.provisioning import KernelProvisionerFactory

from workbench.family import families
from workbench.runs.notebook_page import prepare_report

prepare_report()
KernelProvisionerFactory.instance()  # reads the metadata of all installed packages
families()
